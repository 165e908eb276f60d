"""Measures the model: does the judge see in a picture what the prompt asked for?"""

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from training.art import SIZE, Picture, random_for
from training.classifier import Classifier, look
from training.things import COLOURS, PLACE_WORDS, SIZE_WORDS, THINGS, article

SEEDS = (0, 1, 2, 3)
STEPS = 8
GUIDANCE = 3.0
PAIRS = 60


@dataclass(frozen=True)
class Task:
    """A prompt and what must be seen: indices into THINGS and COLOURS."""

    prompt: str
    things: tuple[int, ...]
    colour: int


@dataclass(frozen=True)
class Outcome:
    """Of the pictures of one prompt, the share that shows the things, and the background."""

    prompt: str
    things: float
    colour: float


@dataclass(frozen=True)
class Report:
    """Shares over all pictures: recognised things, backgrounds, whole pairs; and each prompt's.

    `decibels` is the autoencoder's PSNR on held-out pictures, `edges` the share of the given edges
    that the ControlNet draws, `edges_by_chance` that of the same pictures without it.
    """

    thing: float
    background: float
    pair: float
    singles: tuple[Outcome, ...]
    pairs: tuple[Outcome, ...]
    decibels: float | None = None
    edges: float | None = None
    edges_by_chance: float | None = None

    def failing(self) -> list[str]:
        """Prompts of which fewer than three of four pictures show the thing, worst first."""
        worst = sorted((o for o in (*self.singles, *self.pairs) if o.things < 0.75), key=_things)
        return [outcome.prompt for outcome in worst]

    def save(self, path: Path) -> None:
        values = asdict(self) | {"seeds": len(SEEDS), "steps": STEPS, "guidance": GUIDANCE}
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8", newline="\n")


def _things(outcome: Outcome) -> float:
    return outcome.things


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: list[str],
    seed: int | Iterable[int] = 0,
    **options: object,
) -> list[Picture]:
    """One picture a prompt (128, 128, 3), with the settings of the measurement."""
    seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
    defaults: dict[str, object] = {
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "height": SIZE,
        "width": SIZE,
        "output_type": "np",
    }
    made = pipeline(
        prompts,
        generator=[torch.Generator().manual_seed(s) for s in seeds],
        **(defaults | options),
    ).images
    return [np.asarray((picture * 255).round(), np.uint8) for picture in made]


def single_tasks() -> list[Task]:
    """Every thing once, on the colours in turn, in all sizes and places."""
    colours, tasks = list(COLOURS), []
    for i, thing in enumerate(THINGS):
        rng = random_for("single", thing.name)
        colour = i % len(colours)
        words = thing.name
        kind = i % 4  # plain, sized, placed, plain
        if kind == 1:
            words = f"{rng.choice(list(SIZE_WORDS))} {words}"
        words = article(words) + words
        if kind == 2:
            words += PLACE_WORDS[rng.choice(list(PLACE_WORDS))][0]
        tasks.append(Task(f"{words} on a {colours[colour]} background", (i,), colour))
    return tasks


def pair_tasks() -> list[Task]:
    """Random pairs of different things, three of four side by side."""
    rng = random.Random(0)
    colours, tasks = list(COLOURS), []
    for i in range(PAIRS):
        first, second = rng.sample(range(len(THINGS)), 2)
        colour = rng.randrange(len(colours))
        join = "above" if i % 4 == 3 else "and"
        names = f"{THINGS[first].name} {join} {THINGS[second].name}"
        tasks.append(Task(f"{names} on {colours[colour]}", (first, second), colour))
    return tasks


def judge(
    pipeline: StableDiffusionPipeline, classifier: Classifier, tasks: list[Task], batch: int = 8
) -> list[Outcome]:
    """Draw every task with every seed and look at the pictures."""
    drawn = [(task, seed) for task in tasks for seed in SEEDS]
    right: dict[str, list[tuple[bool, bool]]] = {task.prompt: [] for task in tasks}
    for start in range(0, len(drawn), batch):
        part = drawn[start : start + batch]
        pictures = generate(pipeline, [t.prompt for t, _ in part], [seed for _, seed in part])
        for (task, _), seen in zip(part, look(classifier, pictures), strict=True):
            found = set(seen.things[: len(task.things)]) == set(task.things)
            right[task.prompt].append((found, seen.colour == task.colour))
        print(f"evaluate: {min(start + batch, len(drawn))} of {len(drawn)}", flush=True)
    outcomes = []
    for prompt, results in right.items():
        things, colours = np.mean(results, 0)
        outcomes.append(Outcome(prompt, float(things), float(colours)))
    return outcomes


def evaluate(
    pipeline: StableDiffusionPipeline, classifier: Classifier, most: int | None = None
) -> Report:
    """Measure `pipeline` over all things and PAIRS pairs (at most `most` of each), four seeds."""
    singles = judge(pipeline, classifier, single_tasks()[:most])
    doubles = judge(pipeline, classifier, pair_tasks()[:most])
    return Report(
        thing=float(np.mean([o.things for o in singles])),
        background=float(np.mean([o.colour for o in singles + doubles])),
        pair=float(np.mean([o.things for o in doubles])),
        singles=tuple(singles),
        pairs=tuple(doubles),
    )
