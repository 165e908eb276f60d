"""Tiles cover the picture, and what is drawn in them fits together."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from generation.runtime.tiling import Tile, blended, tiled, tiles_of

FACTOR = 8


@pytest.mark.parametrize(
    ("width", "height", "side", "count"),
    [
        (512, 512, 0, 1),
        (512, 512, 512, 1),
        (1024, 1024, 512, 9),
        (520, 512, 512, 2),
        (1000, 696, 512, 6),
        (264, 200, 128, 6),
        (72, 64, 64, 2),
        (2048, 64, 64, 43),
    ],
)
def test_tiles_cover_every_pixel(width: int, height: int, side: int, count: int) -> None:
    tiles = tiles_of(width, height, side)
    assert len(tiles) == count
    covered = torch.zeros(height, width)
    for tile in tiles:
        assert all(end % 8 == 0 for end in tile)
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


class Network(torch.nn.Module):
    """Remembers what it was given and answers with its input."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[dict[str, Any]] = []

    def forward(self, sample: torch.Tensor, timestep: int, **kwargs: Any) -> tuple[Any, ...]:
        self.given.append({"sample": sample, "timestep": timestep, **kwargs})
        return (sample, "middle")[: 2 if "controlnet_cond" in kwargs else 1]


def a_pipe(**parts: Any) -> Any:
    return SimpleNamespace(unet=Network(), vae_scale_factor=FACTOR, **parts)


def test_the_denoiser_sees_tiles_only_while_it_lasts() -> None:
    pipe, sample = a_pipe(), torch.randn(2, 4, 8, 16)
    tiles, done = tiles_of(128, 64, 64), []
    with tiled(pipe, tiles, lambda: done.append(1)):
        (answer,) = pipe.unet(sample, 7, encoder_hidden_states="text", return_dict=False)
    assert torch.allclose(answer, sample, atol=1e-6)
    assert len(done) == len(tiles) == len(pipe.unet.given) == 3
    assert {given["sample"].shape[-1] for given in pipe.unet.given} == {8}
    assert {given["encoder_hidden_states"] for given in pipe.unet.given} == {"text"}
    pipe.unet(sample, 7)
    assert pipe.unet.given[-1]["sample"] is sample


@pytest.mark.parametrize("several", [False, True])
def test_a_controlnet_sees_the_same_part_as_the_denoiser(several: bool) -> None:
    pipe = a_pipe(controlnet=Network())
    sample, hint = torch.randn(1, 4, 8, 16), torch.randn(1, 3, 64, 128)
    with tiled(pipe, tiles_of(128, 64, 64), lambda: None):
        hints = [hint, hint + 1] if several else hint
        down, middle = pipe.controlnet(sample, 7, controlnet_cond=hints, conditioning_scale=0.5)
        pipe.unet(
            sample, 7, down_block_additional_residuals=down, mid_block_additional_residual=middle
        )
    for tile, seen, given in zip(
        tiles_of(128, 64, 64), pipe.controlnet.given, pipe.unet.given, strict=True
    ):
        part = hint[..., tile.left : tile.right]
        conditions = seen["controlnet_cond"] if several else [seen["controlnet_cond"]]
        assert torch.equal(conditions[0], part)
        assert not several or torch.equal(conditions[1], part + 1)
        assert torch.equal(seen["sample"], given["sample"])
        assert seen["conditioning_scale"] == 0.5
        assert given["down_block_additional_residuals"] is seen["sample"]
        assert given["mid_block_additional_residual"] == "middle"


def test_what_is_stopped_between_tiles_leaves_the_network_as_it_was() -> None:
    pipe, sample = a_pipe(), torch.randn(1, 4, 8, 16)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tiled(pipe, tiles_of(128, 64, 64), stop):
        pipe.unet(sample, 7)
    assert len(pipe.unet.given) == 1
    pipe.unet(sample, 7)
    assert pipe.unet.given[-1]["sample"] is sample


def test_a_hook_that_was_there_stays() -> None:
    pipe, sample = a_pipe(), torch.randn(1, 4, 8, 16)
    hooked = pipe.unet.forward
    pipe.unet.forward = lambda *args, **kwargs: hooked(*args, hook=True, **kwargs)
    before = pipe.unet.forward
    with tiled(pipe, (Tile(0, 0, 64, 64), Tile(0, 64, 64, 128)), lambda: None):
        pipe.unet(sample, 7)
    assert all(given["hook"] for given in pipe.unet.given)
    assert pipe.unet.forward is before
