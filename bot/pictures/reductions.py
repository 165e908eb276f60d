"""Lighter and smaller copies of pictures that are known to be sound: our own."""

import io
from collections.abc import Sequence

from PIL import Image, ImageOps


def lightened(content: bytes, quality: int, scale: float) -> bytes:
    """A WebP of that quality, its sides `scale` times as long. Blocks. Raises OSError."""
    with Image.open(io.BytesIO(content)) as picture:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        resized = _plain(picture).resize(size, Image.Resampling.LANCZOS)
    return _webp(resized, quality)


def sheet(contents: Sequence[bytes], side: int) -> bytes:
    """One to four pictures as one WebP of at most `side` pixels a side, several two by two.

    Blocks. Raises OSError.
    """
    across = 1 if len(contents) == 1 else 2
    fitted = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            within = (side // across, side // across)
            fitted.append(ImageOps.contain(_plain(picture), within, Image.Resampling.LANCZOS))
    wide, high = (max(one.size[axis] for one in fitted) for axis in (0, 1))
    mode = "RGBA" if any(one.mode == "RGBA" for one in fitted) else "RGB"
    made = Image.new(mode, (wide * across, high * -(-len(fitted) // across)))
    for place, one in enumerate(fitted):
        made.paste(one, (place % across * wide, place // across * high))
    return _webp(made, 80)


def board(contents: Sequence[bytes], side: int) -> bytes:
    """One to four pictures as one WebP: one as it is, of at most `side` pixels a side; several on a
    square of that side, of which a gallery cuts nothing off.

    Blocks. Raises OSError.
    """
    if len(contents) == 1:
        return sheet(contents, side)
    pictures = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            pictures.append(_plain(picture))
    wide = sum(one.width / one.height for one in pictures) > len(pictures)
    across, down = (1, 2) if wide and len(pictures) == 2 else (2, -(-len(pictures) // 2))
    cell = (side // across, side // down)
    made = Image.new("RGBA", (side, side))
    for place, one in enumerate(pictures):
        fitted = ImageOps.contain(one, cell, Image.Resampling.LANCZOS)
        left = place % across * cell[0] + (cell[0] - fitted.width) // 2
        top = place // across * cell[1] + (cell[1] - fitted.height) // 2
        made.paste(fitted, (left, top))
    return _webp(made, 80)


def _plain(picture: Image.Image) -> Image.Image:
    """In RGB, or RGBA where it is transparent somewhere."""
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality)
    return file.getvalue()
