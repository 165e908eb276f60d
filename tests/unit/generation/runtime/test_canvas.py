"""A picture on a larger canvas: what is new of it is drawn, the rest is the picture's."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from generation.canvas import new_part, on_canvas
from generation.mask_shapes import blurred
from generation.masked_pictures import filled
from generation.request_parts import Extension
from tests.unit.generation.runtime.drawing import HEIGHT, WIDTH, apart
from tests.unit.generation.runtime.test_inpainting import Inpainting


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Inpainting:
    return Inpainting(tmp_path_factory.mktemp("canvas"))


RIGHT = Extension(width=WIDTH, height=HEIGHT, right=32, overlap=8)


def grown(inpainting: Inpainting, made: Extension, **changes: Any) -> dict[str, Any]:
    given = inpainting.given()
    del given["mask"]
    told = {"masked_content": "fill", "inpaint_area": "only masked", "mask_padding": 8}
    sides = {side: getattr(made, side) for side in ("width", "height", "overlap", *made.SIDES)}
    return {**given, "mask_blur": 2, "extension": sides, **told, **changes}


def test_a_pictures_edge_is_drawn_out_around_it(inpainting: Inpainting) -> None:
    made = Extension(width=WIDTH, height=HEIGHT, left=8, right=16, top=24, bottom=0, overlap=4)
    canvas = on_canvas(inpainting.picture, made)
    assert canvas.size == made.canvas == (WIDTH + 24, HEIGHT + 24)
    whole, picture = np.asarray(canvas), np.asarray(inpainting.picture)
    assert np.array_equal(whole[24:, 8:-16], picture)
    assert (whole[24:, :8] == picture[:, :1]).all()
    assert (whole[:24, 8:-16] == picture[:1]).all()
    # where nothing is new beside it, the edge stays
    mask = np.asarray(new_part(made))
    assert (mask[28:, 12 : 8 + WIDTH - 4] == 0).all()
    assert (mask[:28] == 255).all()
    assert (mask[:, :12] == 255).all()
    assert (mask[:, 8 + WIDTH - 4 :] == 255).all()


def test_what_is_filled_far_from_a_picture_has_its_edges_colours(inpainting: Inpainting) -> None:
    """No blur reaches so far."""
    made = Extension(width=WIDTH, height=HEIGHT, right=2000)
    canvas, mask = on_canvas(inpainting.picture, made), new_part(made)
    found = np.asarray(filled(canvas, mask, canvas=True)).astype(int)
    edge = np.asarray(inpainting.picture)[:, -1:].astype(int)
    assert np.abs(found[:, -100:] - edge).max() <= 1


def test_the_old_picture_stays_to_the_last_bit(inpainting: Inpainting) -> None:
    """But for its edge, which is drawn anew and blended."""
    found = inpainting.draw(inpainting.sd(), **grown(inpainting, RIGHT))
    assert found.shape == (HEIGHT, WIDTH + 32, 3)
    soft = np.asarray(blurred(new_part(RIGHT), 2))
    original = np.asarray(on_canvas(inpainting.picture, RIGHT)).astype(float)
    assert np.array_equal(found[soft == 0], original[soft == 0])
    assert (soft[:, : WIDTH - 8 - 5] == 0).all()
    assert apart(found[:, WIDTH:], original[:, WIDTH:]) > 1


def test_zoomed_out_it_is_smaller_in_the_middle(inpainting: Inpainting) -> None:
    made = Extension(width=48, height=32, left=24, right=24, top=16, bottom=16, overlap=4)
    found = inpainting.draw(inpainting.sd(), **grown(inpainting, made))
    assert found.shape == (HEIGHT, WIDTH, 3)
    small = inpainting.picture.resize((48, 32), Image.Resampling.LANCZOS)
    inner = np.asarray(small).astype(float)[9:-9, 9:-9]
    assert np.array_equal(found[25:-25, 33:-33], inner)


@pytest.mark.parametrize("kind", ["flux", "fill", "inpainting"])
def test_every_kind_of_model_draws_it(kind: str, inpainting: Inpainting) -> None:
    model = inpainting.for_inpainting(inpainting.sd()) if kind == "inpainting" else None
    found = inpainting.draw(model or getattr(inpainting, kind)(), **grown(inpainting, RIGHT))
    original = np.asarray(inpainting.picture).astype(float)
    assert np.array_equal(found[:, : WIDTH - 13], original[:, : WIDTH - 13])
    assert np.ptp(found[:, WIDTH:]) > 0


def test_drawn_again_it_is_the_same(inpainting: Inpainting) -> None:
    first = inpainting.draw(inpainting.sd(), **grown(inpainting, RIGHT))
    assert np.array_equal(first, inpainting.draw(inpainting.sd(), **grown(inpainting, RIGHT)))
