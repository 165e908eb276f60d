"""Whether a picture is a control picture already, prepared elsewhere."""

from typing import Any, Final

import numpy as np

from generation.runtime.preprocessing import Rgb

LINES: Final = frozenset(
    ("canny", "lineart", "lineart_realistic", "scribble", "scribble_hed", "softedge")
)
GREY: Final = 8
"""Values by which the colours of a grey pixel differ at most, as JPEG leaves them."""
DARK: Final = 24
BRIGHT: Final = 128
NEARLY_ALL: Final = 0.98
BACKGROUND: Final = 0.7
"""Share of a picture of lines or of a skeleton that is black."""


def is_prepared(preprocessor: str, picture: Rgb) -> bool:
    """Whether a picture (H, W, 3) needs no preprocessor of that kind.

    White or grey lines on black are lines; a picture in greys alone is depths; normals are
    told by their length, and a skeleton by its colours on black. Of a picture for tiles, blurred
    or in greys nothing tells.
    """
    values = picture.astype(np.int16)
    if preprocessor in LINES:
        return bool(_grey(values) and _black(values) >= BACKGROUND and values.max() >= BRIGHT)
    if preprocessor == "depth":
        return _grey(values)
    if preprocessor == "normal":
        return _normals(values)
    if preprocessor == "pose":
        shown = values[values.max(axis=2) > DARK]
        colourful = (shown.max(axis=1) - shown.min(axis=1) > BRIGHT // 2) if len(shown) else shown
        return bool(len(shown) and _black(values) >= BACKGROUND and colourful.mean() > 1 / 2)
    return False


def _grey(values: np.ndarray[Any, Any]) -> bool:
    return bool(((values.max(axis=2) - values.min(axis=2)) <= GREY).mean() >= NEARLY_ALL)


def _black(values: np.ndarray[Any, Any]) -> float:
    return float((values.max(axis=2) <= DARK).mean())


def _normals(values: np.ndarray[Any, Any]) -> bool:
    """Whether nearly all pixels are vectors of length 1 that look at the viewer."""
    vectors = values.astype(np.float32) / 127.5 - 1
    lengths = np.sqrt((vectors**2).sum(axis=2))
    ahead = (np.abs(lengths - 1) < 0.1) & (vectors[..., 2] > -0.1)
    return bool(ahead.mean() > 0.9)
