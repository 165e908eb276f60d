"""Texts that are hidden in a picture's pixels: one bit in the alpha of each, column by column.

`stealth_pnginfo` or, gzipped, `stealth_pngcomp` stands first, then 32 bits with the text's length
in bits, then the text. Source: NovelAI's metadata reader, A1111's extension stealth-pnginfo.
"""

import io
import zlib
from typing import Final

from PIL import Image

from bot.pictures.containers import PNG_SIGNATURE, contents
from bot.pictures.file_texts import unpacked
from generation.info.found import TEXT_MAX
from generation.refusal import Refused

PLAIN: Final = b"stealth_pnginfo"
PACKED: Final = b"stealth_pngcomp"
LENGTH_BITS: Final = 32
COLOUR_AT: Final = 25
WITH_ALPHA: Final = (b"\x04", b"\x06")
"""Where a PNG says of what kind its pixels are, and the kinds that have alpha."""
_BITS: Final = bytes(48 + (value & 1) for value in range(256))
"""For each value the digit of its last bit."""


def may_hide(data: bytes) -> bool:
    """Whether a file is a PNG whose pixels have alpha."""
    return data.startswith(PNG_SIGNATURE) and data[COLOUR_AT : COLOUR_AT + 1] in WITH_ALPHA


def hidden(data: bytes, pixels: int) -> bytes:
    """The text in UTF-8, b"" for none. Blocks. Raises Refused, and what Pillow raises."""
    with Image.open(io.BytesIO(contents(data).data), formats=("PNG",)) as picture:
        if picture.width * picture.height > pixels:
            raise Refused("picture_too_large", megapixels=picture.width * picture.height // 10**6,
                          high=pixels // 10**6)  # fmt: skip
        alpha = picture.convert("RGBA").getchannel("A")
    # turned on its side, so that columns follow each other
    column = alpha.transpose(Image.Transpose.TRANSPOSE).tobytes()
    start = 8 * len(PLAIN)
    mark = _bytes(column, 0, start)
    if mark not in (PLAIN, PACKED):
        return b""
    length = int.from_bytes(_bytes(column, start, LENGTH_BITS), "big")
    if length > 8 * TEXT_MAX or start + LENGTH_BITS + length > len(column):
        raise Refused("data_damaged")
    text = _bytes(column, start + LENGTH_BITS, length // 8 * 8)
    return unpacked(text, zlib.MAX_WBITS | 16) if mark == PACKED else text


def _bytes(column: bytes, at: int, bits: int) -> bytes:
    digits = column[at : at + bits].translate(_BITS)
    return int(digits, 2).to_bytes(bits // 8, "big") if len(digits) == bits and bits else b""
