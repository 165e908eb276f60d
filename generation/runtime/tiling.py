"""Pictures larger than their model was trained for: each network sees them in overlapping tiles.

The denoiser's answers for the tiles are blended at every step, so that scheduler and noise know
only the whole picture and no seam can grow (MultiDiffusion, Bar-Tal et al. 2023).
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch

from generation.request_fields import SIDE_STEP

OVERLAP = 0.25
"""Of a tile's side, at least, that neighbours share."""


class Tile(NamedTuple):
    """A part of the picture, in pixels; multiples of the step that they were cut by."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, whole: torch.Tensor, pixels: int | Fraction) -> torch.Tensor:
        """Its part of a tensor (..., H, W) whose elements cover `pixels` pixels a side, or 1/n of
        one where it is enlarged; a view.
        """
        return whole[
            ...,
            self.top // pixels : self.bottom // pixels,
            self.left // pixels : self.right // pixels,
        ]


Tiles = tuple[Tile, ...]


def tiles_of(width: int, height: int, side: int, step: int = SIDE_STEP) -> Tiles:
    """Tiles of at most `side` pixels a side that cover the picture, whose sides are multiples of
    `step`, as the picture's are; a side of 0 is one tile.
    """
    return tuple(
        Tile(top, left, bottom, right)
        for top, bottom in _spans(height, side, step)
        for left, right in _spans(width, side, step)
    )


def _spans(length: int, side: int, step: int) -> list[tuple[int, int]]:
    """Where tiles begin and end, evenly spread, so that the last is as wide as the others."""
    if not side or length <= side:
        return [(0, length)]
    units, tile = length // step, side // step
    stride = max(1, tile - max(1, round(tile * OVERLAP)))
    gaps = -(-(units - tile) // stride)
    starts = [round(number * (units - tile) / gaps) * step for number in range(gaps + 1)]
    return [(start, start + side) for start in starts]


def blended(
    tiles: Tiles, pixels: int | Fraction, part: Callable[[Tile], torch.Tensor]
) -> torch.Tensor:
    """What `part` gives for each tile, put together with soft borders.

    Its tensors are (..., H, W) of elements that cover `pixels` pixels a side, as in Tile.of. One
    tile is returned as it is, to the last bit.
    """
    if len(tiles) == 1:
        return part(tiles[0])
    height, width = tiles[-1].bottom // pixels, tiles[-1].right // pixels
    total = weights = torch.empty(0)
    for number, tile in enumerate(tiles):
        piece = part(tile)
        if number == 0:
            total = piece.new_zeros((*piece.shape[:-2], height, width), dtype=torch.float32)
            weights = torch.zeros_like(total[..., :1, :, :])
        down, across = [_window(length, total.device) for length in piece.shape[-2:]]
        weight = down[:, None] * across
        tile.of(total, pixels).add_(piece.float() * weight)
        tile.of(weights, pixels).add_(weight)
    return (total / weights).to(piece.dtype)


def _window(length: int, device: torch.device) -> torch.Tensor:
    """Weights that rise from next to nothing at the ends of a tile: Hann's window."""
    places = torch.arange(length, device=device, dtype=torch.float32) + 0.5
    return torch.sin(torch.pi * places / length) ** 2
