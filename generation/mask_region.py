"""Where only what is masked is drawn: the part of a picture around its mask, made as large as the
request says and put back.

Sources of the rules: `get_crop_region` and `expand_crop_region` of A1111's modules/masking.py,
`resize_image` of its modules/images.py.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


class Region(NamedTuple):
    """A part of a picture, and what is seen of it once it is drawn anew."""

    whole: Image.Image
    """The picture, in RGB."""
    shown: Image.Image
    """In greys, of the whole's size: as much as is seen of what is made, blurred."""
    box: Box

    def cut(self, picture: Image.Image, width: int, height: int) -> Image.Image:
        """The region of a picture as large as the whole, at that size."""
        return contained(picture.crop(self.box), width, height)

    def pasted(self, made: Image.Image) -> Image.Image:
        """The whole picture with what was made of the region; where `shown` is black it is the
        picture's own, to the last bit.
        """
        left, top, right, bottom = self.box
        over = self.whole.copy()
        over.paste(_covering(made, right - left, bottom - top), (left, top))
        return Image.composite(over, self.whole, self.shown)


def around(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """What is drawn where a mask, blurred, is not black: that and so many pixels around it, in the
    shape of width and height as far as the picture reaches. None where nothing is masked.
    """
    found = mask.getbbox()
    if found is None:
        return None
    left, top, right, bottom = found
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, mask.width), min(bottom + padding, mask.height)
    if (right - left) / (bottom - top) > width / height:
        wanted = int((right - left) * height / width - (bottom - top))
        top, bottom = _widened(top, bottom, wanted, mask.height)
    else:
        wanted = int((bottom - top) * width / height - (right - left))
        left, right = _widened(left, right, wanted, mask.width)
    return left, top, right, bottom


def _widened(first: int, last: int, more: int, most: int) -> tuple[int, int]:
    """A span that is longer by so much, to both sides where there is room."""
    first -= more // 2
    last += more - more // 2
    if last >= most:
        first, last = first - (last - most), most
    if first < 0:
        first, last = 0, last - first
    return first, min(last, most)


def contained(picture: Image.Image, width: int, height: int) -> Image.Image:
    """As large as fits into that size; what is left over is its edge, drawn out."""
    if width * picture.height < height * picture.width:
        inner = width, max(1, picture.height * width // picture.width)
    else:
        inner = max(1, picture.width * height // picture.height), height
    fitting = np.asarray(picture.resize(inner, Image.Resampling.LANCZOS))
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    edges = (top, height - inner[1] - top), (left, width - inner[0] - left)
    return Image.fromarray(np.pad(fitting, (*edges, *[(0, 0)] * (fitting.ndim - 2)), "edge"))


def _covering(picture: Image.Image, width: int, height: int) -> Image.Image:
    """So large that it covers that size, cropped at its middle."""
    if width * picture.height > height * picture.width:
        outer = width, picture.height * width // picture.width
    else:
        outer = picture.width * height // picture.height, height
    covering = picture.resize(outer, Image.Resampling.LANCZOS)
    left, top = outer[0] // 2 - width // 2, outer[1] // 2 - height // 2
    return covering.crop((left, top, left + width, top + height))
