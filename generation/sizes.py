"""Sizes of pictures: aspects by name or as any ratio, and the sides that come nearest."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from generation.refusal import Refused, known
from generation.request_fields import SIDE_MIN, SIDE_STEP

ASPECTS: Final[Mapping[str, tuple[int, int]]] = {
    "square": (1, 1),
    "portrait 2:3": (2, 3),
    "portrait 3:4": (3, 4),
    "tall 9:16": (9, 16),
    "landscape 3:2": (3, 2),
    "landscape 4:3": (4, 3),
    "wide 16:9": (16, 9),
    "panorama 21:9": (21, 9),
}
ASPECT_MAX: Final = 4
"""The longer side is at most so many times the shorter."""
BUCKET_APART: Final = 1.2
"""A shape that a family was trained on stands for ratios at most so many times its own."""
_RATIO: Final = re.compile(
    r"\s*(?P<across>\d{1,12}(?:[.,]\d{1,12})?)\s*(?:[:：∶/xX×*]\s*"
    r"(?P<down>\d{1,12}(?:[.,]\d{1,12})?))?\s*"
)
"""`3:2`, `1920x1080`, `2.39:1`, or the first over the second as one number with a point."""


def of(
    ratio: float,
    area: int,
    side_max: int,
    pixels_max: int,
    buckets: Sequence[tuple[int, int]] = (),
    step: int = SIDE_STEP,
) -> tuple[int, int]:
    """Width and height of that ratio and about that area, within the bounds, in pixels, each a
    multiple of `step`.

    Where a family has `buckets`, the nearest of them, unless the bounds or the ratio are far from
    it.
    """
    stretch = max(ratio, 1 / ratio)
    if buckets:
        nearest = min(buckets, key=lambda sides: _apart(stretch, sides))
        fits = nearest[0] <= side_max and nearest[0] * nearest[1] <= pixels_max
        if fits and _apart(stretch, nearest) <= BUCKET_APART:
            return nearest if ratio >= 1 else nearest[::-1]
    long = min(side_max, (min(area, pixels_max) * stretch) ** 0.5)
    largest = max(SIDE_MIN, side_max // step * step)
    sides = min(to_step(long, step), largest), min(to_step(long / stretch, step), largest)
    while sides[0] * sides[1] > pixels_max and sides[0] > SIDE_MIN:
        sides = (sides[0] - step, sides[1])
    return sides if ratio >= 1 else sides[::-1]


def _apart(ratio: float, sides: tuple[int, int]) -> float:
    """By which factor a shape is wider or narrower than a ratio."""
    found = sides[0] / sides[1]
    return max(ratio / found, found / ratio)


def ratio(text: str) -> float:
    """Width over height: an aspect by its name, or any that is not too extreme, such as `W:H`."""
    written = _RATIO.fullmatch(text)
    if written is None:
        if re.fullmatch(r"[\W\d_xX]*", text):
            raise Refused("aspect_wrong", aspect=text.strip()[:40])
        across, down = ASPECTS[known(text, ASPECTS, "aspect_unknown")]
        return across / down
    point = re.search(r"[.,]", text) is not None
    if written["down"] is None and not point:
        raise Refused("aspect_wrong", aspect=text.strip()[:40])
    wide, high = (float((written[side] or "1").replace(",", ".")) for side in ("across", "down"))
    if not 0 < max(wide, high) <= ASPECT_MAX * min(wide, high):
        raise Refused("aspect_wrong", aspect=text.strip()[:40])
    return wide / high


def to_step(side: float, step: int = SIDE_STEP) -> int:
    """The nearest side that can be drawn."""
    return max(SIDE_MIN, round(side / step) * step)
