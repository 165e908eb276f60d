"""The two styles that the demo LoRAs learn, as picture filters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from training.art import Picture

PIXEL = 8  # side of one "pixel" of the pixel-art style: what one latent stands for


@dataclass(frozen=True)
class Style:
    """`trigger` is the word of a prompt that calls for it."""

    name: str
    trigger: str
    apply: Callable[[Picture], Picture]


def pixel_art(picture: Picture) -> Picture:
    """Big square pixels in few colours."""
    small = Image.fromarray(picture).resize(
        (picture.shape[1] // PIXEL, picture.shape[0] // PIXEL), Image.Resampling.BOX
    )
    levels = np.round(np.asarray(small).astype(np.float32) / 255 * 5) / 5 * 255
    big = levels.astype(np.uint8).repeat(PIXEL, 0).repeat(PIXEL, 1)
    return np.ascontiguousarray(big)


def pencil_sketch(picture: Picture) -> Picture:
    """Grey pencil lines on paper: the picture divided by its own blur."""
    grey = ImageOps.grayscale(Image.fromarray(picture))
    blurred = grey.filter(ImageFilter.GaussianBlur(3))
    tone = np.asarray(grey).astype(np.float32)
    dodge = np.clip((tone + 8) / (np.asarray(blurred).astype(np.float32) + 8), 0, 1)
    shade = 0.88 + 0.12 * (tone / 255)  # a little of the tone, so that dark things stay dark
    paper = (dodge**1.6 * shade)[..., None] * np.array([252, 250, 244], np.float32)
    made: Picture = np.clip(paper, 0, 255).astype(np.uint8)
    return made


STYLES = (
    Style("pixel-art", "pixel art", pixel_art),
    Style("pencil-sketch", "pencil sketch", pencil_sketch),
)
