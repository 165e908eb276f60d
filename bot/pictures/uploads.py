"""Pictures that people upload: checked before they are decoded, kept as plain PNG."""

import asyncio
import io
import warnings

import discord
from PIL import Image, ImageOps

from generation.completion import Limits
from generation.refusal import Refused

MIB = 2**20
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


async def read_attachment(attachment: discord.Attachment, limits: Limits) -> bytes:
    """Fetch an attachment and check it; returns a PNG. Raises Refused."""
    # what Discord says of it comes first, so that nothing huge is ever fetched
    _check_size(attachment.filename, attachment.size, limits)
    if attachment.width and attachment.height:
        _check_pixels(attachment.filename, attachment.width * attachment.height, limits)
    try:
        data = await attachment.read()
    except discord.HTTPException as error:
        raise Refused("picture_gone") from error
    return await asyncio.to_thread(check_picture, data, attachment.filename, limits)


def check_picture(data: bytes, name: str, limits: Limits) -> bytes:
    """A picture of any common format as an RGB PNG, upright. Blocks. Raises Refused.

    The size in pixels is read off the header before anything is decoded, so that a small file that
    unpacks to gigabytes is refused.
    """
    _check_size(name, len(data), limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check_pixels(name, picture.width * picture.height, limits)
                upright = _on_white(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise Refused(
            "picture_too_large", file=name, megapixels="over 178", high=limits.upload_megapixels
        ) from None
    except (OSError, ValueError, SyntaxError):
        # Pillow raises SyntaxError for a broken PNG
        raise Refused("picture_unreadable", file=name) from None
    file = io.BytesIO()
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency: what lies under it is often black, and never meant to be seen."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")


def _check_size(name: str, size: int, limits: Limits) -> None:
    if size > limits.upload_mib * MIB:
        raise Refused(
            "picture_too_heavy", file=name, size=f"{size / MIB:.1f}", high=limits.upload_mib
        )


def _check_pixels(name: str, pixels: int, limits: Limits) -> None:
    if pixels > limits.upload_megapixels * 1_000_000:
        raise Refused(
            "picture_too_large",
            file=name,
            megapixels=f"{pixels / 1e6:.0f}",
            high=limits.upload_megapixels,
        )
