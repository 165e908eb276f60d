"""By which sizes a picture becomes larger, whatever enlarges it; Pillow alone.

Source of the sizes of a hires pass: modules/upscaler.py and images.py of A1111's webui.
"""

from typing import Final

from PIL import Image

from generation.enlarging import PLAIN
from generation.hires_sizes import LATENT

PASSES: Final = 3
"""At most so many times one network enlarges what it has enlarged."""
NEAREST: Final = "Nearest"
BORDER: Final = 8
"""Pixels by which a picture is continued on each side before a network enlarges it: networks see
black beyond, and would darken its edges. A multiple of SIDE_STEP.
"""

Size = tuple[int, int]


def plainly(name: str, picture: Image.Image, size: Size) -> Image.Image:
    """The picture at `size` in pixels without a network."""
    how = Image.Resampling.NEAREST if name == NEAREST else Image.Resampling.LANCZOS
    return picture.resize(size, how)


def passes(have: Size, want: Size, scale: int) -> int:
    """How often a network of that scale goes over a picture; one that only mends does once."""
    if scale < 2:
        return 1
    number, reached = 1, max(have) * scale
    while reached < max(want) and number < PASSES:
        number, reached = number + 1, reached * scale
    return number


def between_passes(name: str, have: Size, want: Size) -> tuple[Size | None, tuple[Size, ...]]:
    """To which size an upscaler enlarges before a hires pass, None where it need not, and to which
    Lanczos does then, one after the other: A1111's upscalers make multiples of eight.
    """
    scale = max(want[0] / have[0], want[1] / have[1])
    if scale <= 1:
        return None, (want,)
    across, down = (int(side * scale) for side in have)
    eighths = (across // LATENT * LATENT, down // LATENT * LATENT)
    return (across, down) if name in PLAIN else eighths, (eighths, want)
