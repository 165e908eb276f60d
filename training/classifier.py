"""The judge: a small network that says which things a picture shows, and on what colour."""

import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from PIL import Image, ImageFilter
from torch import Tensor, nn

from training.art import Art, Picture, random_for
from training.captions import sample
from training.loop import Budget, Run, cosine
from training.precision import mixed_precision
from training.things import COLOURS, THINGS
from training.vae import to_tensor

BATCH = 32


def _stage(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=2, padding=1),
        nn.GroupNorm(8, outside),
        nn.SiLU(),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.GroupNorm(8, outside),
        nn.SiLU(),
    )


class Classifier(nn.Module):
    """Pictures (N, 3, 128, 128) in -1..1 -> logits of the things and of the colours."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 160)
        stages = [_stage(a, b) for a, b in pairwise(widths)]
        self.stages = nn.Sequential(*stages)
        self.things = nn.Linear(2 * widths[-1], len(THINGS))
        self.colours = nn.Linear(2 * widths[-1], len(COLOURS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.stages(pictures)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.things(pooled), self.colours(pooled)


@dataclass(frozen=True)
class Seen:
    """What the judge sees: the two likeliest things, likeliest first, and the background."""

    things: tuple[int, int]
    colour: int


def train_classifier(art: Art, folder: Path, budget: Budget, device: torch.device) -> None:
    """Train in `folder`/classifier on the same art, roughened as a decoder roughens it."""
    torch.manual_seed(0)
    model = Classifier().to(device)
    groups: list[dict[str, object]] = [{"params": list(model.parameters())}]
    run = Run(folder / "classifier", model, groups, lr=2e-3, ema_decay=0.99, weight_decay=0.01)

    def loss(step: int, progress: float) -> Tensor:
        pictures, shown, colours = _lesson(art, "classifier", step)
        with mixed_precision(device):
            things, backgrounds = model(pictures.to(device))
        return F.cross_entropy(things.float(), shown.to(device)) + 0.5 * F.cross_entropy(
            backgrounds.float(), colours.to(device)
        )

    run.train(loss, budget, schedule=cosine, warmup=50)
    with run.averaged():
        print(f"classifier: {_accuracy(model, art, device)}", flush=True)
        torch.save(model.state_dict(), folder / "classifier" / "model.pt")


def load_classifier(folder: Path) -> Classifier:
    """The trained judge of the run in `folder`."""
    model = Classifier()
    model.load_state_dict(torch.load(folder / "classifier" / "model.pt", weights_only=True))
    return model.eval()


@torch.no_grad()
def look(model: Classifier, pictures: list[Picture]) -> list[Seen]:
    """What `model` sees in each picture."""
    things, colours = model(to_tensor(pictures))
    best = things.topk(2).indices.tolist()
    return [
        Seen((first, second), int(colour))
        for (first, second), colour in zip(best, colours.argmax(1), strict=True)
    ]


def roughen(picture: Picture, rng: random.Random) -> Picture:
    """A little blur and noise, as a small decoder leaves them."""
    made = Image.fromarray(picture)
    if rng.random() < 0.6:
        made = made.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 10), picture.shape)
    return np.clip(np.asarray(made) + noise, 0, 255).astype(np.uint8)


def _lesson(art: Art, seed: str, step: int) -> tuple[Tensor, Tensor, Tensor]:
    pictures, colours = [], []
    shown = torch.zeros(BATCH, len(THINGS))
    for i in range(BATCH):
        rng = random_for(seed, step, i)
        scene = sample(rng).scene
        pictures.append(roughen(art.paint(scene), rng))
        colours.append(scene.colour)
        for placed in scene.placed:
            shown[i, placed.thing] += 1 / len(scene.placed)
    return to_tensor(pictures), shown, torch.tensor(colours)


@torch.no_grad()
def _accuracy(model: Classifier, art: Art, device: torch.device) -> str:
    right = []
    for step in range(8):
        pictures, shown, colours = _lesson(art, "classifier held out", step)
        things, backgrounds = model(pictures.to(device))
        single = shown.amax(1) == 1
        good = (things.argmax(1).cpu() == shown.argmax(1))[single].float().mean()
        right.append((float(good), float((backgrounds.argmax(1).cpu() == colours).float().mean())))
    thing, colour = np.mean(right, 0)
    return f"{thing:.1%} of held-out things and {colour:.1%} of backgrounds right"
