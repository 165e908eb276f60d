"""Tiles cover the picture, and what is drawn in them fits together."""

from itertools import pairwise

import pytest
import torch

from generation.runtime.tiling import blended, tiles_of

FACTOR = 8


@pytest.mark.parametrize(
    ("width", "height", "side", "count", "step"),
    [
        (512, 512, 0, 1, 8),
        (512, 512, 512, 1, 8),
        (1024, 1024, 512, 9, 8),
        (520, 512, 512, 2, 8),
        (1000, 696, 512, 6, 8),
        (264, 200, 128, 6, 8),
        (72, 64, 64, 2, 8),
        (2048, 64, 64, 43, 8),
        (176, 64, 64, 4, 16),
    ],
)
def test_tiles_cover_every_pixel(width: int, height: int, side: int, count: int, step: int) -> None:
    tiles = tiles_of(width, height, side, step)
    assert len(tiles) == count
    covered = torch.zeros(height, width)
    for tile in tiles:
        assert all(end % step == 0 for end in tile)
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert tile.bottom - tile.top <= (side or height)
        assert tile.right - tile.left <= (side or width)
    assert covered.min() >= 1
    rows = sorted({(tile.top, tile.bottom) for tile in tiles})
    columns = sorted({(tile.left, tile.right) for tile in tiles})
    for spans in (rows, columns):
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= side / 8


@pytest.mark.parametrize("pixels", [1, FACTOR])
def test_parts_of_a_picture_are_put_together_to_it(pixels: int) -> None:
    whole = torch.randn(2, 3, 1000 // pixels, 696 // pixels)
    tiles = tiles_of(696, 1000, 512)
    again = blended(tiles, pixels, lambda tile: tile.of(whole, pixels))
    assert torch.allclose(again, whole, atol=1e-5)
    half = blended(tiles, pixels, lambda tile: tile.of(whole.half(), pixels))
    assert half.dtype == torch.float16


def test_one_tile_is_the_whole_to_the_last_bit() -> None:
    whole = torch.randn(1, 4, 8, 8)
    assert torch.equal(blended(tiles_of(64, 64, 0), 8, lambda tile: tile.of(whole, 8)), whole)


def test_tiles_that_disagree_leave_no_step() -> None:
    tiles = tiles_of(1024, 512, 512)
    answers = {tile: torch.full((1, 1, 64, 64), float(n % 2)) for n, tile in enumerate(tiles)}
    found = blended(tiles, FACTOR, answers.__getitem__)[0, 0]
    assert found.min() < 0.01
    assert found.max() > 0.99
    # a hard border would be a step of 1
    assert found.diff(dim=1).abs().max() < 0.15
