"""The sizes of a hires pass: what is asked for, and what comes of it, as A1111 reckons."""

import re
from typing import Final, NamedTuple

LATENT: Final = 8
"""Pixels of a latent's side, as A1111 reckons."""
OFF: Final = frozenset(("", "0", "off", "no", "none", "false"))
"""What people write for no hires pass."""
FACTOR_MAX: Final = 16.0
_SIZE: Final = re.compile(r"(?P<across>\d{0,5})\s*[xX×*]\s*(?P<down>\d{0,5})")
_FACTOR: Final = re.compile(r"(?:[xX×]\s*)?(?P<factor>\d{1,2}(?:[.,]\d{1,10})?)(?:\s*[xX×])?")


class HiresSizes(NamedTuple):
    """Width and height each: of what is enlarged to, in pixels, and of what is cut out of that at
    its centre and drawn anew.
    """

    enlarged: tuple[int, int]
    made: tuple[int, int]


def read(text: str) -> str | None:
    """What somebody wrote, as it is kept: `1.5`, `1024x1536`, or with one side 0 for whatever that
    becomes; None for no hires pass. Raises ValueError.
    """
    written = text.strip()
    if written.casefold() in OFF:
        return None
    factor = _FACTOR.fullmatch(written)
    if factor is not None:
        value = float(factor["factor"].replace(",", "."))
        if value == 0:
            return None
        if 1 <= value <= FACTOR_MAX:
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    size = _SIZE.fullmatch(written)
    if size is not None:
        across, down = int(size["across"] or 0), int(size["down"] or 0)
        if across or down:
            return f"{across}x{down}"
    raise ValueError(text)


def of(kept: str, width: int, height: int) -> HiresSizes:
    """The sizes for a first pass of that size. Of a factor both are the same, and of two sides the
    picture covers them; sides are multiples of eight, rounded down.

    Source: `calculate_target_resolution` of A1111's webui.
    """
    across, x, down = kept.partition("x")
    if not x:
        enlarged = int(width * float(kept)), int(height * float(kept))
        return HiresSizes(enlarged, _in_latents(enlarged))
    wide, high = int(across), int(down)
    by_width = wide, wide * height // width
    by_height = high * width // height, high
    if not high:
        return HiresSizes(by_width, _in_latents(by_width))
    if not wide:
        return HiresSizes(by_height, _in_latents(by_height))
    enlarged = by_width if width / height < wide / high else by_height
    cut = [(had - wanted) // LATENT for had, wanted in zip(enlarged, (wide, high), strict=True)]
    (across_latents, down_latents) = [side // LATENT for side in enlarged]
    return HiresSizes(
        enlarged, ((across_latents - cut[0]) * LATENT, (down_latents - cut[1]) * LATENT)
    )


def _in_latents(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // LATENT * LATENT, size[1] // LATENT * LATENT
