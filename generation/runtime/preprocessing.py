"""Control pictures made of pictures, as sd-webui-controlnet does, and laid over what is drawn.

Pictures are arrays (H, W, 3) of bytes, red first. Source: Mikubill,
github.com/Mikubill/sd-webui-controlnet (its preprocessors, and `detectmap_proc`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np

from generation.preprocessors import PREPROCESSORS, Preprocessor
from generation.request_fields import ControlFit
from generation.request_parts import ControlUse

Rgb = np.ndarray[Any, np.dtype[np.uint8]]
Sees = Callable[[Rgb], Rgb]
"""What a network makes of a picture of the same size."""

STRIDE: Final = 64
"""Pixels that the sides of what a preprocessor sees are multiples of."""
FLAT: Final = 2 * np.pi
"""How far a normal map's surfaces look at the viewer."""
FEW_COLOURS: Final = 200
"""Below which a control picture is a map of classes, whose colours must not be mixed."""
WHITE: Final = 255
APART: Final = 4
"""By how many times the shapes of a picture and of what is drawn may differ."""


def control_picture(
    use: ControlUse, picture: Rgb, size: tuple[int, int], networks: Mapping[str, Sees]
) -> Rgb:
    """What a ControlNet is shown of a picture, of width and height `size`; `networks` are those
    that the preprocessor needs, by their names in `preprocessors.Annotator`.
    """
    row, picture = PREPROCESSORS[use.preprocessor], _near(picture, size, use.fit)
    return laid_over(_preprocessed(use, row, picture, size, networks), size, use.fit)


def _near(picture: Rgb, size: tuple[int, int], fit: ControlFit) -> Rgb:
    """A picture of a shape so different that enlarging it would fill the memory: the middle of it,
    or stretched at once.
    """
    height, width = picture.shape[:2]
    shares = size[0] / width, size[1] / height
    if fit == "fill" or max(shares) <= APART * min(shares):
        return picture
    if fit == "stretch":
        return resized(picture, size)
    if shares[0] > shares[1]:
        rows = max(1, round(APART * size[1] / shares[0]))
        top = max(0, (height - rows) // 2)
        return picture[top : top + rows]
    columns = max(1, round(APART * size[0] / shares[1]))
    left = max(0, (width - columns) // 2)
    return np.ascontiguousarray(picture[:, left : left + columns])


def _preprocessed(
    use: ControlUse,
    row: Preprocessor,
    picture: Rgb,
    size: tuple[int, int],
    networks: Mapping[str, Sees],
) -> Rgb:
    """The control picture in the shape of the picture itself."""
    a = use.threshold_a if use.threshold_a is not None or row.a is None else row.a.default
    b = use.threshold_b if use.threshold_b is not None or row.b is None else row.b.default
    numbers = tuple(float(number) for number in (a, b) if number is not None)
    make = MAKE[row.name]
    if not row.sized:
        return make(picture, numbers, networks)
    resolution = use.resolution or perfect(picture.shape[:2], size, use.fit)
    seen, (height, width) = _padded(picture, resolution)
    return np.ascontiguousarray(make(seen, numbers, networks)[:height, :width])


def perfect(shape: tuple[int, ...], size: tuple[int, int], fit: ControlFit) -> int:
    """The shorter side at which a picture (height, width) has the pixels that are drawn."""
    height, width = shape
    shares = size[1] / height, size[0] / width
    share = min(shares) if fit == "fill" else max(shares)
    return max(1, round(share * min(height, width)))


def _padded(picture: Rgb, resolution: int) -> tuple[Rgb, tuple[int, int]]:
    """A picture whose shorter side has so many pixels, continued at its edges to whole strides; and
    its height and width before that.
    """
    height, width = picture.shape[:2]
    share = resolution / min(height, width)
    wanted = max(1, round(height * share)), max(1, round(width * share))
    how = cv2.INTER_CUBIC if share > 1 else cv2.INTER_AREA
    sized = cv2.resize(picture, wanted[::-1], interpolation=how)
    around = [(0, -side % STRIDE) for side in wanted]
    return np.pad(sized, [*around, (0, 0)], mode="edge"), wanted


def _grey(values: np.ndarray[Any, Any]) -> Rgb:
    """Greys (H, W) from 0 to 255 as a picture; fractions are cut off."""
    return np.repeat(values.clip(0, WHITE).astype(np.uint8)[..., None], 3, axis=2)


Numbers = tuple[float, ...]
Networks = Mapping[str, Sees]


def _none(picture: Rgb, _numbers: Numbers, _networks: Networks) -> Rgb:
    return picture


def _canny(picture: Rgb, numbers: Numbers, _networks: Networks) -> Rgb:
    low, high = numbers
    return _grey(cv2.Canny(picture, low, high))


def _lineart(picture: Rgb, _numbers: Numbers, _networks: Networks) -> Rgb:
    """Lines darker than what is around them, white on black."""
    values = picture.astype(np.float32)
    around = cv2.GaussianBlur(values, (0, 0), 6.0)
    darker = (around - values).min(axis=2).clip(0, WHITE)
    lines = darker[darker > 8]
    middle = float(np.median(lines)) if lines.size else 0.0
    return _grey(darker / max(16.0, middle) * 127)


def _scribble(picture: Rgb, numbers: Numbers, _networks: Networks) -> Rgb:
    """A difference of two blurs (XDoG), of which what is over the threshold is white."""
    values = picture.astype(np.float32)
    narrow, wide = (cv2.GaussianBlur(values, (0, 0), spread) for spread in (0.5, 5.0))
    rest = (WHITE - (wide - narrow).min(axis=2)).clip(0, WHITE).astype(np.uint8)
    return _grey(np.where(2 * (WHITE - rest.astype(int)) > numbers[0], WHITE, 0))


def _tile(picture: Rgb, numbers: Numbers, _networks: Networks) -> Rgb:
    """Smaller by that rate, so that detail is drawn anew."""
    rate = numbers[0]
    if rate < 1.1:
        return picture
    height, width = (max(1, int(side / rate)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _blur(picture: Rgb, numbers: Numbers, _networks: Networks) -> Rgb:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), numbers[0]), np.uint8)


def _invert(picture: Rgb, _numbers: Numbers, _networks: Networks) -> Rgb:
    return np.asarray(WHITE - picture, np.uint8)


def _recolor(picture: Rgb, numbers: Numbers, _networks: Networks) -> Rgb:
    """Its lightness (L of CIE Lab), under that gamma."""
    light = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32) / WHITE
    return _grey(light ** numbers[0] * WHITE)


def _seen_by(network: str) -> Callable[[Rgb, Numbers, Networks], Rgb]:
    return lambda picture, _numbers, networks: networks[network](picture)


def _normal(picture: Rgb, numbers: Numbers, networks: Networks) -> Rgb:
    """From a depth map, near is white: what looks left is red, up green, at the viewer blue."""
    near = networks["depth"](picture)[..., 0].astype(np.float32)
    across = cv2.Sobel(near, cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(near, cv2.CV_32F, 0, 1, ksize=3)
    behind = near / WHITE < numbers[0]
    across[behind] = down[behind] = 0
    normals = np.stack((across, down, np.full_like(near, FLAT)), axis=2)
    normals = normals / np.sqrt((normals**2).sum(axis=2, keepdims=True))
    return np.asarray((normals * 127.5 + 127.5).clip(0, WHITE), np.uint8)


def _scribble_hed(picture: Rgb, _numbers: Numbers, networks: Networks) -> Rgb:
    """Soft edges of which only the ridges stay, wide and hard."""
    edges = _ridges(networks["softedge"](picture)[..., 0], 127, 3.0)
    wide = cv2.GaussianBlur(edges, (0, 0), 3.0)
    return _grey(np.where(wide > 4, WHITE, 0))


def _ridges(edges: Rgb, threshold: int, spread: float) -> Rgb:
    """White where an edge, blurred, is at its highest along one of four directions."""
    soft = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), spread)
    lines = [np.zeros((3, 3), np.uint8) for _ in range(4)]
    lines[0][1, :] = lines[1][:, 1] = 1
    np.fill_diagonal(lines[2], 1)
    np.fill_diagonal(np.fliplr(lines[3]), 1)
    highest = np.zeros_like(soft)
    for line in lines:
        np.putmask(highest, cv2.dilate(soft, kernel=line) == soft, soft)
    return np.where(highest > threshold, WHITE, 0).astype(np.uint8)


MAKE: Final[Mapping[str, Callable[[Rgb, Numbers, Networks], Rgb]]] = {
    "none": _none,
    "canny": _canny,
    "lineart": _lineart,
    "lineart_realistic": _seen_by("lineart"),
    "scribble": _scribble,
    "scribble_hed": _scribble_hed,
    "softedge": _seen_by("softedge"),
    "depth": _seen_by("depth"),
    "normal": _normal,
    "pose": _seen_by("pose"),
    "tile": _tile,
    "blur": _blur,
    "invert": _invert,
    "recolor": _recolor,
}


def laid_over(made: Rgb, size: tuple[int, int], fit: ControlFit) -> Rgb:
    """A control picture at width and height `size`: stretched, cropped at its centre, or whole
    between borders of the colour that its own borders have.
    """
    width, height = size
    if fit == "stretch":
        return resized(made, size)
    shares = height / made.shape[0], width / made.shape[1]
    share = min(shares) if fit == "fill" else max(shares)
    own = max(1, round(made.shape[1] * share)), max(1, round(made.shape[0] * share))
    inner = resized(made, own)
    if fit == "fill":
        borders = np.concatenate((made[0], made[-1], made[:, 0], made[:, -1]))
        found = np.empty((height, width, 3), np.uint8)
        found[:] = np.median(borders, axis=0).astype(np.uint8)
        top, left = max(0, (height - own[1]) // 2), max(0, (width - own[0]) // 2)
        shown = inner[: height - top, : width - left]
        found[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return found
    top, left = max(0, (own[1] - height) // 2), max(0, (own[0] - width) // 2)
    return np.ascontiguousarray(inner[top : top + height, left : left + width])


def resized(made: Rgb, size: tuple[int, int]) -> Rgb:
    """At width and height `size`; few colours stay unmixed, black and white stays that, and lines
    of one pixel do.
    """
    height, width = made.shape[:2]
    if (width, height) == size:
        return made
    smaller = size[0] * size[1] < width * height
    colours = len(np.unique(made.reshape(-1, 3), axis=0))
    hard = colours == 2 and bool(made.min() < 16) and bool(made.max() > 240)
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    if 2 < colours < FEW_COLOURS:
        how = cv2.INTER_NEAREST
    found = np.asarray(cv2.resize(made, size, interpolation=how), np.uint8)
    if not hard:
        return found
    greys = found.astype(np.float32).mean(axis=2).clip(0, WHITE).astype(np.uint8)
    _, two = cv2.threshold(greys, 0, WHITE, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return _grey(thinned(two) if _of_lines(made[..., 0]) else two)


def _of_lines(edges: Rgb) -> bool:
    """Whether most of what is white is no wider than two pixels."""
    opened = cv2.morphologyEx(edges, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return bool(2 * (opened < edges).sum() > (edges > 127).sum())


def thinned(edges: Rgb) -> Rgb:
    """White lines (H, W) of one pixel, where they were. Source: Zhang and Suen, "A Fast Parallel
    Algorithm for Thinning Digital Patterns".
    """
    inside = edges > 127
    changed = True
    while changed:
        changed = False
        for step in (0, 1):
            around = np.pad(inside, 1)
            up, down = around[:-2, 1:-1], around[2:, 1:-1]
            left, right = around[1:-1, :-2], around[1:-1, 2:]
            ring = (
                *(up, around[:-2, 2:], right, around[2:, 2:]),
                *(down, around[2:, :-2], left, around[:-2, :-2]),
            )
            neighbours = sum(one.astype(np.uint8) for one in ring)
            turns = sum(
                (~one & other).astype(np.uint8)
                for one, other in zip(ring, (*ring[1:], ring[0]), strict=True)
            )
            if step == 0:
                open_ = ~(up & right & down) & ~(right & down & left)
            else:
                open_ = ~(up & right & left) & ~(up & down & left)
            taken = inside & (neighbours >= 2) & (neighbours <= 6) & (turns == 1) & open_
            if taken.any():
                inside, changed = inside & ~taken, True
    return np.where(inside, WHITE, 0).astype(np.uint8)
