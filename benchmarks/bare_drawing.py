"""The drawing that `benchmarks.drawing` compares the product with, in a process that has no more
than it needs: `python -m benchmarks.bare_drawing bare`, or `diffusers`.

Each line on standard input, a count and a seed, is drawn and answered with a line.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

DEMO: Final = Path("models/diffusers/demo")
PROMPT: Final = "a panda in the rain"
GUIDANCE: Final = 5.0

Draw = Callable[[int, int], object]


def main() -> None:
    """Draw until standard input ends."""
    parser = argparse.ArgumentParser(prog="benchmarks.bare_drawing")
    parser.add_argument("kind", choices=("bare", "diffusers"))
    for name in ("steps", "side", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    os.nice(10)
    import torch

    torch.set_num_threads(arguments.threads)
    make = _bare if arguments.kind == "bare" else _diffusers
    draw = make(arguments.steps, arguments.side)
    for line in sys.stdin:
        count, seed = map(int, line.split())
        with torch.no_grad():
            draw(count, seed)
        print("drawn", flush=True)


def _bare(steps: int, side: int) -> Draw:
    """The product's recipe with nothing around it."""
    import torch

    from generation.messages import RuntimeSettings
    from generation.models import ModelFile, ModelKind
    from generation.picture_encoding import encoded
    from generation.request import GenerationRequest
    from generation.runtime.denoiser import Denoiser
    from generation.runtime.latents import decode
    from generation.runtime.lessons import Lessons
    from generation.runtime.networks.unet import UNet
    from generation.runtime.noise import Streams
    from generation.runtime.parts import Parts
    from generation.runtime.samplers import SAMPLING
    from generation.runtime.schedules import timeline
    from generation.runtime.tiling import tiles_of
    from generation.samplers import SAMPLERS, sampler_of, schedule_of

    parts = Parts(RuntimeSettings(device="cpu"), torch.device("cpu"))
    file = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=DEMO, family="sd1")
    model = parts.checkpoint(file)

    def draw(count: int, seed: int) -> list[bytes]:
        request = GenerationRequest(
            prompt=PROMPT,
            model="demo",
            width=side,
            height=side,
            steps=steps,
            guidance_scale=GUIDANCE,
            sampler="DPM++ 2M",
            seed=seed,
            count=count,
        )
        name = sampler_of(request)
        row = SAMPLERS[name]
        sampling = model.sampling(request.conventions, (64, 64), request.steps)
        times = timeline(schedule_of(request), name, sampling, steps, None, large=False)
        tiles = tiles_of(side, side, 0)
        noise = Streams(request.seeds, request.variations, request.conventions)
        shape = (model.family.latents.channels, side // model.factor, side // model.factor)
        x = sampling.begin(noise.initial(shape), times.noise, None, whole=row.timesteps)
        x = x * times.gain
        denoiser = Denoiser(
            UNet(model.denoiser, []),
            sampling,
            model.family,
            model.conditioner.prompts(PROMPT, "", steps * row.order),
            GUIDANCE,
            tiles,
            model.factor,
            beside=None,
            guided=row.guided,
            after_call=lambda: None,
        )
        with parts.tuning.tuned([model.denoiser], [model.vae], None):
            for step in SAMPLING[name](denoiser, x, times.sigmas, noise, sampling):
                x = step.x
            pictures = [decode(model, latent, tiles, Lessons())[0] for latent in x]
            return [encoded(picture, request)[0] for picture in pictures]

    return draw


def _diffusers(steps: int, side: int) -> Draw:
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(DEMO, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def draw(count: int, seed: int) -> None:
        drawn = pipeline(
            PROMPT,
            height=side,
            width=side,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            num_images_per_prompt=count,
            generator=[torch.Generator().manual_seed(seed + place) for place in range(count)],
        )
        for picture in drawn.images:
            picture.save(io.BytesIO(), "PNG", compress_level=4)

    return draw


if __name__ == "__main__":
    main()
