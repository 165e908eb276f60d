"""How far a picture grows, and what of it is drawn."""

from typing import Any

import pytest

from generation import outpainting
from generation.outpainting import Sides, extended, window
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.rules import Limits
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_model

HASH = "0" * 64
MODEL = a_model("demo", family="sdxl", native_size=1024)
LIMITS = Limits(upscaled_side=2048)


def grown(sides: Sides, size: tuple[int, int] = (1024, 1024), **changes: Any) -> GenerationRequest:
    request = a_request(**{"width": 1024, "height": 1024, **changes})
    return extended(request, HASH, size, sides, MODEL, LIMITS)


@pytest.mark.parametrize(
    ("sides", "canvas", "left", "top"),
    [
        (outpainting.LEFT, (1536, 1024), 512, 0),
        (outpainting.RIGHT, (1536, 1024), 0, 0),
        (outpainting.UP, (1024, 1536), 0, 512),
        (outpainting.DOWN, (1024, 1536), 0, 0),
        (outpainting.ALL_AROUND, (1536, 1536), 256, 256),
    ],
)
def test_a_picture_grows_by_half_a_side(
    sides: Sides, canvas: tuple[int, int], left: int, top: int
) -> None:
    made = grown(sides)
    assert made.extension is not None
    assert made.extension.canvas == made.size == canvas
    assert (made.extension.width, made.extension.height) == (1024, 1024)
    assert (made.extension.left, made.extension.top) == (left, top)
    assert (made.init_picture, made.masked_content) == (HASH, "fill")
    assert made.denoising_strength == 1


def test_no_more_is_drawn_than_before() -> None:
    """To one side: what is new and as much of the old, pixel by pixel."""
    made = grown(outpainting.LEFT)
    assert (made.width, made.height) == (1024, 1024)
    assert made.extension is not None
    assert window(made.extension) == (1024, 1024)
    again = grown(outpainting.LEFT, (1536, 1024))
    assert again.size == (2048, 1024)
    assert (again.width, again.height) == (1024, 1024)


def test_a_canvas_that_a_model_draws_at_once_is_drawn_whole() -> None:
    """Up to half as many pixels more than it was trained on."""
    small = a_model("demo", family="sd1", native_size=512)
    request = a_request(width=512, height=512)
    made = extended(request, HASH, (512, 512), outpainting.LEFT, small, LIMITS)
    assert (made.width, made.height) == made.size == (768, 512)
    again = extended(made, HASH, (768, 512), outpainting.LEFT, small, LIMITS)
    assert again.size == (1152, 512)
    assert (again.width, again.height) == (768, 512)


def test_zooming_out_keeps_the_size_and_puts_the_picture_in_the_middle() -> None:
    for sides, inner, before, behind in (
        (outpainting.ZOOM_OUT, 683, 170, 171),
        (outpainting.ZOOM_OUT_MORE, 512, 256, 256),
    ):
        made = grown(sides)
        assert made.size == (1024, 1024)
        assert made.extension is not None
        assert (made.extension.width, made.extension.height) == (inner, inner)
        assert (made.extension.left, made.extension.right) == (before, behind)
        assert (made.width, made.height) == (1024, 1024)


def test_what_is_too_large_to_draw_at_once_is_drawn_smaller() -> None:
    made = grown(outpainting.ALL_AROUND)
    assert made.size == (1536, 1536)
    assert (made.width, made.height) == (1024, 1024)


def test_a_picture_grows_no_further_than_the_limit() -> None:
    """By what is left of it, if that is half of what is wanted."""
    assert grown(outpainting.LEFT, (1792, 1024)).size == (2048, 1024)
    for size in ((1800, 1024), (2048, 1024)):
        with pytest.raises(Refused) as refused:
            grown(outpainting.LEFT, size)
        assert refused.value.code == "extended_enough"
        assert refused.value.params == {"side": 2048}


def test_sizes_are_those_that_a_model_draws() -> None:
    """Whatever the picture's: an upload may have any."""
    made = grown(outpainting.RIGHT, (1000, 777))
    assert made.size == (1504, 777)
    assert made.width % 8 == made.height % 8 == 0
    assert made.width * made.height <= 1024 * 1024


def test_of_an_enlarged_picture_half_of_its_own_side_is_new() -> None:
    enlargement = {
        "picture": "1" * 64,
        "upscaler": "Lanczos",
        "width": 1280,
        "height": 1280,
        "from_width": 640,
        "from_height": 640,
    }
    made = grown(outpainting.DOWN, (1280, 1280), width=640, height=640, enlargement=enlargement)
    assert made.size == (1280, 1920)


def test_the_overlap_holds_the_blurred_edge() -> None:
    for side, deep in ((1024, 32), (512, 16), (128, 8)):
        made = grown(outpainting.LEFT, (side, side), width=side, height=side)
        assert made.extension is not None
        assert made.extension.overlap == deep
        assert 2.5 * made.mask_blur <= deep
