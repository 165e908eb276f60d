"""`python -m training`: trains the demo model, all of it or one part.

    python -m training all                   from nothing to the weights in models/
    python -m training all --minutes 3       the same, three minutes in all: a rehearsal
    python -m training unet --minutes 600    goes on with one part, until it had 600 minutes
    python -m training unet --start models/diffusers/demo
                                             begins with the weights that are shipped

Interrupted, the same command goes on where it stopped. Parts, in order: vae, text, latents,
unet, cooldown, classifier, export, lora, controlnet, upscaler, enlarged, tagger, sheets, evaluate,
card.
`decoder` goes on with the autoencoder's decoder alone, which leaves a trained UNet valid.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from training.art import ArtError
from training.recipe import PARTS, Recipe


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=["all", *PARTS])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="checkpoints")
    parser.add_argument("--models", type=Path, default=Path("models"), help="finished weights")
    parser.add_argument("--docs", type=Path, default=Path("docs/demo-model"), help="sample sheets")
    parser.add_argument(
        "--emoji", type=Path, default=Path("runs/emoji"), help="the art; fetched if absent"
    )
    parser.add_argument("--minutes", type=float, help="minutes to train, earlier runs counted in")
    parser.add_argument("--steps", type=int, help="steps to train, earlier runs counted in")
    parser.add_argument("--batch", type=int, help="pictures a step of the UNet's training")
    parser.add_argument("--pictures", type=int, default=40960, help="pictures encoded to latents")
    parser.add_argument("--prompts", type=int, help="evaluate at most so many things and pairs")
    parser.add_argument(
        "--start", type=Path, help="a pipeline's folder: begin with its weights, not random ones"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    device = torch.device(options.device)
    recipe = Recipe(
        out=options.out,
        models=options.models,
        docs=options.docs,
        emoji=options.emoji,
        device=device,
        minutes=options.minutes,
        steps=options.steps,
        batch=options.batch or (256 if device.type == "cuda" else 32),
        pictures=options.pictures,
        prompts=options.prompts,
        start=options.start,
    )
    try:
        recipe.run(options.part)
    except (ArtError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
