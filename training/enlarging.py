"""The upscaler beside bicubic and Lanczos: measured, and on pictures of the demo to look at."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import nn

from training.art import SIZE, Art, Picture, Placed, Scene, random_for
from training.captions import sample
from training.classifier import Classifier, look
from training.evaluate import generate
from training.sheets import PROMPTS
from training.things import THINGS
from training.upscaler import SCALE, SEED, LargeArt, enlarge, held_out_scenes, psnr

SCENES = 48
SHOWN = (0, 2, 3, 7)  # of PROMPTS, on the sheet
GAP = 6


@dataclass(frozen=True)
class Enlarged:
    """PSNR in dB and SSIM (0..1) of one way to enlarge, on held-out art; `recognised` is the share
    of things that the judge sees in pictures of 32 pixels that it enlarged to 128.
    """

    psnr: float
    ssim: float
    recognised: float


def measure(model: nn.Module, judge: Classifier, art: Art) -> dict[str, Enlarged]:
    """The network's figures, and those of bicubic and Lanczos."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for scene in held_out_scenes(LargeArt(art), SCENES):
        for name, made in ways(model, scene.reduce(SCALE)).items():
            scores.setdefault(name, []).append((psnr(made, scene), ssim(made, scene)))
    seen = recognised(model, judge, art)
    found = {}
    for name, values in scores.items():
        decibels, similar = np.mean(values, 0)
        found[name] = Enlarged(round(float(decibels), 2), round(float(similar), 4), seen[name])
    return found


def save(figures: Mapping[str, Enlarged], path: Path) -> None:
    """Write the figures as JSON."""
    values = {name: asdict(figure) for name, figure in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8", newline="\n")


def ways(model: nn.Module, small: Image.Image) -> dict[str, Image.Image]:
    """A picture enlarged in every way that is compared."""
    size = (small.width * SCALE, small.height * SCALE)
    return {
        "bicubic": small.resize(size, Image.Resampling.BICUBIC),
        "lanczos": small.resize(size, Image.Resampling.LANCZOS),
        "upscaler": enlarge(model, small),
    }


def recognised(model: nn.Module, judge: Classifier, art: Art) -> dict[str, float]:
    """The share of all things that the judge sees, in each way."""
    seen: dict[str, list[bool]] = {}
    for index in range(len(THINGS)):
        rng = random_for(SEED, "judged", index)
        scene = sample(rng).scene
        placed = Placed(index, 0.5, 0.5, rng.uniform(0.5, 0.8))
        whole: Picture = art.paint(Scene((placed,), scene.colour, scene.layout, scene.size))
        for name, made in ways(model, Image.fromarray(whole).reduce(SCALE)).items():
            found = look(judge, [np.asarray(made)])[0].things[0]
            seen.setdefault(name, []).append(found == index)
    return {name: round(float(np.mean(values)), 4) for name, values in seen.items()}


def ssim(made: Image.Image, wanted: Image.Image) -> float:
    """Structural similarity of the luma (Wang et al. 2004: a Gaussian of 1.5, k = 0.01, 0.03)."""
    a, b = (
        torch.from_numpy(np.asarray(picture.convert("L"), np.float32))[None, None]
        for picture in (made, wanted)
    )
    line = torch.exp(-torch.arange(-5, 6).float().square() / (2 * 1.5**2))
    window = (line[:, None] * line[None, :] / line.sum().square())[None, None]
    mean_a, mean_b = F.conv2d(a, window), F.conv2d(b, window)
    var_a = F.conv2d(a * a, window) - mean_a.square()
    var_b = F.conv2d(b * b, window) - mean_b.square()
    both = F.conv2d(a * b, window) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((top / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2))).mean())


def sheet(pipeline: StableDiffusionPipeline, model: nn.Module) -> Image.Image:
    """Four of the demo's pictures: as they are, by Lanczos, and by the upscaler."""
    side = SIZE * SCALE
    made = Image.new("RGB", (3 * (side + GAP) - GAP, len(SHOWN) * (side + GAP) - GAP), "white")
    for row, picture in enumerate(generate(pipeline, [PROMPTS[i] for i in SHOWN])):
        small = Image.fromarray(picture)
        found = ways(model, small)
        plain = small.resize((side, side), Image.Resampling.NEAREST)
        for column, shown in enumerate((plain, found["lanczos"], found["upscaler"])):
            made.paste(shown, (column * (side + GAP), row * (side + GAP)))
    return made
