"""Pictures on their way to a program that draws for the bot, and back."""

import io
from typing import Final

from PIL import Image

from generation.messages import Enlarge, Generate, Picture
from generation.picture_encoding import encoded
from generation.programs.faults import EndedError
from generation.refusal import Refused

FORMATS: Final = ("PNG", "JPEG", "WEBP")
PIXELS_MAX: Final = 2**26
"""Of one picture: more than is drawn or enlarged here."""


def opaque(data: bytes) -> Image.Image:
    """Its RGB, on white where it is transparent. Raises Refused for what is no picture."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        raise Refused("picture_unreadable") from None
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        picture = Image.composite(picture.convert("RGB"), white, picture.getchannel("A"))
    return picture


def drawn(file: bytes) -> Image.Image:
    """What a program hands out as its picture. Raises EndedError where that is none, or one that
    would not fit in memory.
    """
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise ValueError(f"it has {opened.width} × {opened.height} pixels")
            return opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise EndedError("internal_error", detail=f"no picture came: {error}") from error


def finished(
    picture: Image.Image, work: Generate | Enlarge, index: int, hashes: dict[str, str]
) -> Picture:
    """Picture `index` of a job, in the file that its request wants."""
    content, pixels = encoded(picture, work.request)
    return Picture(
        job=work.job,
        index=index,
        seed=work.request.seeds[index],
        file=content,
        width=picture.width,
        height=picture.height,
        pixels_sha256=pixels,
        hashes=hashes,
        variation_seed=work.request.variation_seeds[index],
    )


def png(picture: Image.Image) -> bytes:
    """A PNG of it."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def layers(data: bytes) -> Image.Image:
    """A picture's RGB, or RGBA where some of it is transparent. Raises EndedError."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise EndedError("picture_unreadable", detail=str(error)) from error
