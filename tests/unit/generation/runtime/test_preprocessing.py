"""What preprocessors make of pictures: held to plain computations of their own."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from generation.preprocessors import PREPROCESSORS, Preprocessor
from generation.request_parts import ControlUse
from generation.runtime.control_pictures import prepared
from generation.runtime.latents import fitted
from generation.runtime.prepared import is_prepared
from generation.runtime.preprocessing import (
    MAKE,
    control_picture,
    laid_over,
    perfect,
    resized,
    thinned,
)

Bytes = np.ndarray[Any, Any]
SIDE = 128
"""Two strides, so that nothing is continued at the edges."""


def drawn(width: int = SIDE, height: int = SIDE) -> Bytes:
    """A dark disc and a line on a light ramp."""
    down, across = np.mgrid[:height, :width]
    values = np.stack((200 + across % 40, 210 + down % 30, 190 + (across + down) % 50), axis=2)
    disc = (across - width * 0.4) ** 2 + (down - height / 2) ** 2 < (min(width, height) / 4) ** 2
    values[disc] = 40, 60, 90
    values[:, int(width * 0.8)] = 10
    return values.astype(np.uint8)


def made(preprocessor: str, picture: Bytes, size: tuple[int, int], **told: Any) -> Bytes:
    use = ControlUse("net", "0" * 64, preprocessor=preprocessor, **told)
    return control_picture(use, picture, size, {})


def test_every_preprocessor_is_made() -> None:
    assert MAKE.keys() == PREPROCESSORS.keys()


@pytest.mark.parametrize("row", PREPROCESSORS.values(), ids=lambda row: row.name)
def test_each_gives_what_is_drawn_at_its_size(row: Preprocessor) -> None:
    networks = dict.fromkeys(("depth", "pose", "person", "softedge", "lineart"), lambda seen: seen)
    for picture in (drawn(), drawn(200, 90), drawn(1, 1), drawn(1, 2000), drawn(2000, 3)):
        for fit in ("crop", "stretch", "fill"):
            use = ControlUse("net", "0" * 64, preprocessor=row.name, fit=fit)
            found = control_picture(use, picture, (96, 64), networks)
            assert found.shape == (64, 96, 3)
            assert found.dtype == np.uint8


def test_canny_is_opencvs_with_a1111s_thresholds() -> None:
    picture = drawn()
    found = made("canny", picture, (SIDE, SIDE))
    assert np.array_equal(found[..., 0], cv2.Canny(picture, 100, 200))
    assert found.any()
    other = made("canny", picture, (SIDE, SIDE), threshold_a=20, threshold_b=30)
    assert np.array_equal(other[..., 0], cv2.Canny(picture, 20, 30))
    assert not np.array_equal(found, other)


def blurred(picture: Bytes, spread: float) -> Bytes:
    """As OpenCV blurs floats: four standard deviations, reflected at the edges."""
    values = picture.astype(float)
    for axis in (0, 1):
        values = ndimage.gaussian_filter1d(
            values, spread, axis, mode="mirror", radius=round(spread * 4)
        )
    return values


def test_lineart_is_what_is_darker_than_around_it() -> None:
    picture = drawn()
    darker = (blurred(picture, 6.0) - picture).min(axis=2).clip(0, 255)
    expected = (darker / max(16, np.median(darker[darker > 8])) * 127).clip(0, 255).astype(int)
    found = made("lineart", picture, (SIDE, SIDE))[..., 0].astype(int)
    assert np.abs(found - expected).max() <= 2
    blank = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert not made("lineart", blank, (SIDE, SIDE)).any()


def test_scribble_is_a_difference_of_two_blurs() -> None:
    picture = drawn()
    rest = (255 - (blurred(picture, 5.0) - blurred(picture, 0.5)).min(axis=2)).clip(0, 255)
    for told, threshold in (({}, 32), ({"threshold_a": 8.0}, 8)):
        expected = 2 * (255 - rest.astype(int)) > threshold
        found = made("scribble", picture, (SIDE, SIDE), **told)[..., 0]
        assert set(np.unique(found)) == {0, 255}
        assert ((found > 0) != expected).mean() < 0.01


def test_the_others_without_a_model() -> None:
    picture = drawn()
    assert np.array_equal(made("none", picture, (SIDE, SIDE)), picture)
    assert np.array_equal(made("invert", picture, (SIDE, SIDE)), 255 - picture)
    soft = made("blur", picture, (SIDE, SIDE)).astype(float)
    assert np.abs(soft - blurred(picture, 9.0)).mean() < 1.5
    light = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0]
    grey = made("recolor", picture, (SIDE, SIDE))
    assert np.abs(grey[..., 0].astype(int) - light).max() <= 1
    darker = made("recolor", picture, (SIDE, SIDE), threshold_a=2)[..., 0]
    assert np.abs(darker - 255 * (light / 255) ** 2).max() <= 1.5
    assert np.array_equal(made("tile", picture, (SIDE, SIDE)), picture)
    half = made("tile", picture, (SIDE, SIDE), threshold_a=2)
    small = cv2.resize(picture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    back = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(half, back)


def test_normals_look_away_from_what_is_nearer() -> None:
    """A ball: its left side looks left, which is red, its top up, which is green."""
    down, across = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    near = np.sqrt((60.0**2 - across**2 - down**2).clip(0)) / 60 * 250
    networks = {"depth": lambda _: np.repeat(near.astype(np.uint8)[..., None], 3, axis=2)}
    use = ControlUse("net", "0" * 64, preprocessor="normal", threshold_a=0.0)
    found = control_picture(use, drawn(), (SIDE, SIDE), networks).astype(int)
    middle, left, right = (found[SIDE // 2, SIDE // 2 + by] for by in (0, -30, 30))
    top, bottom = (found[SIDE // 2 + by, SIDE // 2] for by in (-30, 30))
    assert middle.tolist() == pytest.approx([128, 128, 255], abs=3)
    assert left[0] > 160 > 96 > right[0]
    assert top[1] > 160 > 96 > bottom[1]
    # what is far is flat
    far = ControlUse("net", "0" * 64, preprocessor="normal", threshold_a=1.0)
    assert control_picture(far, drawn(), (SIDE, SIDE), networks)[20, 64].tolist() == [127, 127, 255]


def test_pixel_perfect_is_what_is_drawn() -> None:
    assert perfect((200, 400), (128, 128), "crop") == 128
    assert perfect((200, 400), (128, 128), "fill") == 64
    assert perfect((200, 400), (128, 128), "stretch") == 128
    # at another resolution there is more or less to be seen
    fine, coarse = (
        made("canny", drawn(256, 256), (128, 128), resolution=side) for side in (256, 64)
    )
    assert not np.array_equal(fine, coarse)
    assert set(np.unique(fine)) == {0, 255}


def test_how_another_shape_is_laid_over() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, :40] = 200, 100, 50
    assert laid_over(wide, (40, 40), "crop")[20, [0, 19, 20, 39], 0].tolist() == [200, 200, 0, 0]
    stretched = laid_over(wide, (40, 40), "stretch")
    assert stretched[20, [0, 18, 21, 39], 0].tolist() == [200, 200, 0, 0]
    filled = laid_over(wide, (40, 40), "fill")
    assert np.array_equal(filled[10:30], resized(wide, (40, 20)))
    edge = np.concatenate((wide[0], wide[-1], wide[:, 0], wide[:, -1]))
    assert filled[0, 0].tolist() == np.median(edge, axis=0).astype(int).tolist()


def test_lines_of_one_pixel_stay_that_when_they_are_resized() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[32, 5:60] = 255
    larger = resized(lines, (160, 160))
    assert set(np.unique(larger)) == {0, 255}
    assert (larger[..., 0] > 0).sum(axis=0).max() == 1
    assert (larger[..., 0] > 0).any(axis=0).sum() > 120
    block = np.zeros((64, 64, 3), np.uint8)
    block[20:40, 20:40] = 255
    assert (resized(block, (128, 128))[..., 0] > 0).sum() == pytest.approx(1600, rel=0.1)
    bar = np.zeros((20, 60), np.uint8)
    bar[8:13, 10:50] = 255
    thin = thinned(bar)
    assert (thin > 0).sum(axis=0).max() == 1
    assert (thin > 0).any()


def test_few_colours_stay_unmixed() -> None:
    classes = np.zeros((64, 64, 3), np.uint8)
    classes[:, 20:40], classes[:, 40:] = (255, 0, 0), (0, 0, 255)
    found = resized(classes, (150, 150))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 3


def skeleton() -> Bytes:
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    for number, colour in enumerate(((255, 0, 0), (255, 170, 0), (0, 255, 85), (85, 0, 255))):
        cv2.line(canvas, (20 + number * 20, 20), (30 + number * 20, 100), colour, 4)
    return canvas


def normals() -> Bytes:
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE * 1.2 - 0.6
    ahead = np.sqrt(1 - across**2 - down**2)
    return ((np.stack((across, down, ahead), axis=2) + 1) * 127.5).astype(np.uint8)


def as_jpeg(picture: Bytes) -> Bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_picture_that_is_prepared_is_known(*, compressed: bool) -> None:
    lines = made("canny", drawn(), (SIDE, SIDE))
    ramp = np.repeat(np.linspace(0, 255, SIDE).astype(np.uint8)[None, :, None], SIDE, axis=0)
    depths = np.repeat(ramp, 3, axis=2)
    shown = {"lines": lines, "depths": depths, "pose": skeleton(), "normal": normals()}
    shown["photo"], shown["black"] = drawn(), np.zeros((SIDE, SIDE, 3), np.uint8)
    kinds = {"canny": "lines", "lineart": "lines", "scribble": "lines", "softedge": "lines"}
    kinds |= {"pose": "pose", "normal": "normal"}
    for preprocessor, kind in kinds.items():
        for name, picture in shown.items():
            known = as_jpeg(picture) if compressed else picture
            assert is_prepared(preprocessor, known) is (name == kind), (preprocessor, name)
    assert is_prepared("depth", depths)
    assert not is_prepared("depth", drawn())
    assert not any(is_prepared(name, drawn()) for name in PREPROCESSORS)
    for name in ("none", "tile", "blur", "invert", "recolor"):
        assert not is_prepared(name, depths)


def test_only_what_was_chosen_by_itself_leaves_it_as_it_is() -> None:
    lines = Image.fromarray(made("canny", drawn(200, 150), (200, 150)))
    use = ControlUse("net", "0" * 64, preprocessor="canny", automatic=True)
    left = prepared(use, lines, (96, 96), {}, None)  # type: ignore[arg-type]
    assert left == fitted(lines, 96, 96)
    told = ControlUse("net", "0" * 64, preprocessor="canny")
    assert prepared(told, lines, (96, 96), {}, None) != left  # type: ignore[arg-type]
    photo = Image.fromarray(drawn())
    assert prepared(use, photo, (96, 96), {}, None) == prepared(told, photo, (96, 96), {}, None)  # type: ignore[arg-type]
    none = ControlUse("net", "0" * 64)
    assert prepared(none, photo, (96, 64), {}, None) == fitted(photo, 96, 64)  # type: ignore[arg-type]
