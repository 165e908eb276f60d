"""Sample sheets: rows of labelled pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from training.art import SIZE, Art, Picture
from training.controlnet import edges, scene_anywhere
from training.evaluate import generate
from training.styles import Style

LABEL = 14  # pixels under each picture
GAP = 4

PROMPTS = (
    "small rocket on a black background",
    "apple and banana on green",
    "a big panda on pink",
    "castle on the left, light blue background",
    "fox on orange",
    "a penguin on a light blue background",
    "pizza on red",
    "a cute owl, brown background",
    "unicorn on purple",
    "sunflower on blue",
    "a robot on grey",
    "ghost on a black background",
    "dinosaur on yellow",
    "octopus on light blue",
    "burger and fries on red",
    "star above moon on black",
    "strawberry on white",
    "a house on green",
    "tiny car on the right, grey background",
    "huge sun on light blue",
    "cat and dog on yellow",
    "Christmas tree on white",
    "cactus on orange",
    "two butterflies on pink",
    "guitar on purple",
    "crown on red",
    "planet on black",
    "birthday cake on pink",
    "teddy bear on light blue",
    "watermelon at the bottom, white background",
)
SHOWN = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 20, 22, 26, 28)  # on the contact sheet


def sheet(pictures: list[Picture], labels: list[str], columns: int) -> Image.Image:
    """Pictures in rows of `columns`, each over its label."""
    rows = -(-len(pictures) // columns)
    width, height = SIZE + GAP, SIZE + LABEL + GAP
    made = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(made)
    font = ImageFont.load_default(10)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        made.paste(Image.fromarray(picture), (x, y))
        while draw.textlength(label, font=font) > SIZE:
            label = label.removesuffix("…")[:-1] + "…"
        draw.text((x, y + SIZE + 1), label, "black", font=font)
    return made


def prompt_sheet(pipeline: StableDiffusionPipeline, count: int = 30, seed: int = 0) -> Image.Image:
    """The first `count` of the thirty prompts, one picture each."""
    pictures = _draw(pipeline, list(PROMPTS[:count]), seed)
    return sheet(pictures, list(PROMPTS[:count]), 6)


def _draw(pipeline: StableDiffusionPipeline, prompts: list[str], seed: int) -> list[Picture]:
    parts = [prompts[i : i + 6] for i in range(0, len(prompts), 6)]
    return [picture for part in parts for picture in generate(pipeline, part, seed)]


def contact_sheet(pipeline: StableDiffusionPipeline, seed: int = 0) -> Image.Image:
    """Six by three pictures without labels, for the front page."""
    pictures = _draw(pipeline, [PROMPTS[i] for i in SHOWN], seed)
    rows = [np.concatenate(pictures[i : i + 6], 1) for i in range(0, 18, 6)]
    return Image.fromarray(np.concatenate(rows))


def lora_sheet(pipeline: StableDiffusionPipeline, lora: Path, style: Style) -> Image.Image:
    """Six prompts with the LoRA at 0, 0.5 and 1, a row each."""
    prompts = [f"{style.trigger} of {PROMPTS[i]}" for i in (0, 1, 2, 4, 8, 17)]
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name=style.name)
    pictures, labels = [], []
    for weight in (0.0, 0.5, 1.0):
        pipeline.set_adapters([style.name], [weight])
        pictures += generate(pipeline, prompts)
        labels += [f"{weight:g}: {prompt}" for prompt in prompts]
    pipeline.unload_lora_weights()
    return sheet(pictures, labels, len(prompts))


@dataclass(frozen=True)
class Controlled:
    """Given edges, what the ControlNet drew along them, and what is drawn without it."""

    prompts: list[str]
    lines: list[Picture]
    drawn: list[Picture]
    free: list[Picture]

    def sheet(self) -> Image.Image:
        """A column a prompt."""
        n = len(self.prompts)
        labels = ["edges"] * n + self.prompts + ["without"] * n
        return sheet([*self.lines, *self.drawn, *self.free], labels, n)

    def followed(self) -> float:
        """The share of the edges that were drawn."""
        return _agreement(self.lines, self.drawn)

    def by_chance(self) -> float:
        """The share of the edges that the pictures without the ControlNet have too."""
        return _agreement(self.lines, self.free)


def draw_controlled(
    pipeline: StableDiffusionPipeline, art: Art, folder: Path, count: int = 8
) -> Controlled:
    """Draw along the edges of `count` scenes with the ControlNet in `folder`, and without."""
    controlled = StableDiffusionControlNetPipeline(
        **pipeline.components, controlnet=ControlNetModel.from_pretrained(folder)
    )
    controlled.set_progress_bar_config(disable=True)
    made = Controlled([], [], [], [])
    for start in range(0, count, 8):
        scenes = [scene_anywhere(10_000_000 + i) for i in range(start, min(start + 8, count))]
        prompts = [captioned.caption for captioned in scenes]
        lines = [edges(art.paint(captioned.scene)) for captioned in scenes]
        images = [Image.fromarray(line) for line in lines]
        made.prompts.extend(prompts)
        made.lines.extend(lines)
        made.drawn.extend(generate(controlled, prompts, image=images))
        made.free.extend(generate(pipeline, prompts))
    return made


def _agreement(lines: list[Picture], pictures: list[Picture]) -> float:
    return float(np.mean([edge_agreement(a, b) for a, b in zip(lines, pictures, strict=True)]))


def edge_agreement(lines: Picture, picture: Picture) -> float:
    """The share of the given edge pixels within two pixels of an edge of `picture`."""
    found = edges(picture)[..., 0] > 0
    near = np.zeros_like(found)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            near |= np.roll(found, (dy, dx), (0, 1))
    given = lines[..., 0] > 0
    return float((given & near).sum() / max(1, given.sum()))
