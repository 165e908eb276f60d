"""Any picture as people mean it: upright, on white, in sRGB, and no larger than can be drawn.

And what is to be drawn anew of one: a mask, or what is erased of the picture itself.
"""

import contextlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from PIL import AvifImagePlugin, Image, ImageChops, ImageCms, ImageFile

from bot.pictures.containers import (
    PNG_SIGNATURE,
    Contents,
    TooManyPartsError,
    contents,
    other_format,
)
from generation.refusal import Refused

FORMATS: Final = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP")
ORIENTATION: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation."""
PROFILE_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The mode of the pixels that a profile's colour space is of."""
SCREEN_GAMMA: Final = 2.2
GAMMA_TOLERANCE: Final = 0.05
"""From the PNG specification's sample code: a difference that nobody sees."""


PartOfFile = Literal["picture", "mask", "erased"]
"""What is wanted of a file: its picture; the mask that it is; the mask of what is erased of it."""
DRAWN: Final = 128
"""Of 255: from which on a mask's grey is drawn anew."""


class Bounds(msgspec.Struct, frozen=True):
    """How large a picture may be, and how large it stays, in pixels.

    One that is larger is scaled down until its longer side is `side`; but the shorter is not made
    less than `cover`, which a part of it has to fill, unless the longer were more than `longest`.
    One whose shorter side is less than `least`, before that or after, is refused.
    """

    pixels: int
    side: int
    cover: int
    longest: int
    least: int = 1

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of that size is kept in."""
        shorter, longer = sorted((width, height))
        scale = min(max(self.side / longer, self.cover / shorter), self.longest / longer)
        if scale >= 1:
            return width, height
        return max(1, round(width * scale)), max(1, round(height * scale))


def normalised(
    data: bytes, bounds: Bounds, part: PartOfFile = "picture", *, still: bool = False
) -> bytes:
    """A picture of any of FORMATS as an RGB PNG; of several frames the first, unless it must be
    `still`. Blocks.

    Masks are grey PNGs, white where all is drawn anew; b"" where nothing is erased. Raises Refused
    with `file` still to be named: picture_format, picture_unreadable, picture_too_large,
    picture_too_slow, picture_tiny, picture_narrow, mask_black, picture_animated.
    """
    other = other_format(data)
    if other is not None:
        raise Refused("picture_format", format=other)
    if still and _is_apng(data):
        raise Refused("picture_animated")
    try:
        with warnings.catch_warnings(), _bounded(bounds.pixels):
            warnings.simplefilter("ignore")
            found = _read(contents(data), bounds, part, still=still)
    except Refused:
        raise
    except TooManyPartsError:
        raise Refused("picture_too_slow") from None
    except Image.DecompressionBombError as error:
        raise _too_large(_pixels_named_by(error, bounds), bounds) from None
    except MemoryError:
        raise Refused("picture_too_much_memory") from None
    except Exception:  # noqa: BLE001 - Pillow's readers raise whatever a damaged file makes them
        raise Refused("picture_unreadable") from None
    if found is None:
        return b""
    found.info.clear()  # Pillow would write a profile into the file, transparency too
    file = io.BytesIO()
    found.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _is_apng(data: bytes) -> bool:
    """Whether a PNG moves: a chunk before its pixels says so, and its further frames are cut out
    unread.
    """
    before = data[: max(0, data.find(b"IDAT"))]
    return data.startswith(PNG_SIGNATURE) and b"\0\0\0\x08acTL" in before


@contextlib.contextmanager
def _bounded(pixels: int) -> Iterator[None]:
    """Have Pillow read no more than that many pixels, in one thread; its settings are the process's
    and are put back.
    """
    before = Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS
    # twice that is an error before any memory is taken; some formats take it as they are opened
    Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS = pixels, 1
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS = before


def _read(found: Contents, bounds: Bounds, part: PartOfFile, *, still: bool) -> Image.Image | None:
    with Image.open(io.BytesIO(found.data), formats=FORMATS) as picture:
        if picture.width * picture.height > bounds.pixels:
            raise _too_large(picture.width * picture.height, bounds)
        if still and getattr(picture, "is_animated", False):
            raise Refused("picture_animated")
        if part == "erased" and not picture.has_transparency_data:
            return None
        profile = found.profile or _bytes_of(picture, "icc_profile")
        exif = found.exif or _bytes_of(picture, "exif")
        size = bounds.scaled(*picture.size)
        _check_least(picture.size, size, bounds.least)
        picture.draft(None, size)  # JPEG alone can be decoded smaller
        plain = _shrunk(_with_eight_bits(picture), size)
    if part == "erased":
        plain = ImageChops.invert(plain.getchannel("A"))
    else:
        plain = _in_srgb(plain, profile)
        if found.gamma:
            plain = _for_screens(plain, found.gamma)
        plain = _on(plain, "white" if part == "picture" else "black")
    if part != "picture":
        plain = plain.convert("L")
        if plain.point(lambda grey: 255 * (grey >= DRAWN)).getbbox() is None:
            if part == "mask":
                raise Refused("mask_black")
            return None
    turn = UPRIGHT.get(_orientation(exif))
    return plain if turn is None else plain.transpose(turn)


def _check_least(size: tuple[int, int], scaled: tuple[int, int], least: int) -> None:
    """Refuse a picture of that size, which is kept in another, where that shows next to nothing."""
    if min(size) < least:
        raise Refused("picture_tiny", width=size[0], height=size[1], low=least)
    if min(scaled) < least:
        raise Refused("picture_narrow", width=size[0], height=size[1])


def _with_eight_bits(picture: ImageFile.ImageFile) -> Image.Image:
    """As L, LA, RGB, RGBA or CMYK, 8 bits a channel."""
    picture.load()
    if picture.mode.startswith(("I", "F")):
        # Pillow would clip at 255
        return picture.convert("F").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if picture.has_transparency_data:
        return picture if picture.mode in ("LA", "RGBA") else picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _shrunk(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """From the colours of its profile to sRGB; a profile that can't be used is none."""
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = PROFILE_MODES.get(source.profile.xcolor_space.strip())
        if mode is None or (mode != "RGB" and picture.mode.removesuffix("A") != mode):
            return picture
        if mode == "RGB" and picture.mode == "CMYK":
            return picture
        alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
        colours = picture.convert(mode)
        converted = ImageCms.profileToProfile(
            colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error):
        return picture
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _for_screens(picture: Image.Image, gamma: float) -> Image.Image:
    """From a PNG's own gamma to that of screens."""
    exponent = 1 / (gamma * SCREEN_GAMMA)
    if abs(exponent - 1) < GAMMA_TOLERANCE:
        return picture
    curve = [round(255 * (value / 255) ** exponent) for value in range(256)]
    same = list(range(256))
    colours = len(picture.getbands()) - (picture.mode in ("LA", "RGBA"))
    return picture.point(curve * colours + same * (len(picture.getbands()) - colours))


def _on(picture: Image.Image, colour: str) -> Image.Image:
    """Without transparency: what lies under it is often black, and never meant to be seen."""
    if picture.mode not in ("LA", "RGBA"):
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", opaque.size, colour), opaque).convert("RGB")


def _orientation(exif: bytes) -> int:
    """1 to 8; 1 where the EXIF is damaged or says nothing of it."""
    if not exif:
        return 1
    found = Image.Exif()
    try:
        found.load(exif)
        return int(found.get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF makes Pillow raise whatever
        return 1


def _bytes_of(picture: Image.Image, name: str) -> bytes:
    value = picture.info.get(name)
    return value if isinstance(value, bytes) else b""


def _pixels_named_by(error: Image.DecompressionBombError, bounds: Bounds) -> int:
    """How many pixels the file has; Pillow says it in its sentence alone."""
    found = re.search(r"\((\d+) pixels\)", str(error))
    return int(found[1]) if found else bounds.pixels


def _too_large(pixels: int, bounds: Bounds) -> Refused:
    return Refused(
        "picture_too_large", megapixels=round(pixels / 1e6), high=bounds.pixels // 1_000_000
    )
