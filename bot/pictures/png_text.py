"""The generation data that a PNG of another program carries as text, read within bounds.

No library reads these chunks: of a hostile file no more than one is looked into, and no more of it
unpacked than a text may have.
"""

import struct
import zlib
from typing import Final

from bot.pictures.containers import PNG_SIGNATURE, TooManyPartsError, chunks
from generation.metadata import INFOTEXT_MAX
from generation.picture_files import INFOTEXT_CHUNK
from generation.refusal import Refused
from generation.request import check_text

TEXT_MAX: Final = 4 * INFOTEXT_MAX
"""Bytes of the text, in UTF-8."""
BODY_MAX: Final = TEXT_MAX + 1000
"""Bytes of a chunk: the text, and what stands before it."""
TEXT_CHUNKS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt"))
COMFYUI: Final = frozenset((b"prompt", b"workflow"))
"""Keywords under which ComfyUI keeps its graph, as JSON."""
KEYWORD_MAX: Final = 79
HEADER_BYTES: Final = 25
"""Of a PNG's first chunk."""


def read(data: bytes, name: str) -> str:
    """The infotext of a PNG that A1111's webui, or another program as it does, has written. Blocks.

    Raises Refused about the file `name`: for what is no PNG, has no such text, one that is damaged
    or too long, or a graph of ComfyUI's instead.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise Refused("data_no_png", file=name)
    comfyui = False
    try:
        for kind, body, whole in chunks(data, len(PNG_SIGNATURE) + HEADER_BYTES):
            if kind not in TEXT_CHUNKS:
                continue
            keyword, _, rest = body[: KEYWORD_MAX + 1].partition(b"\0")
            comfyui |= keyword in COMFYUI
            if keyword != INFOTEXT_CHUNK.encode() or len(body) == len(keyword) or not rest:
                continue
            if len(body) > BODY_MAX:
                raise Refused("data_too_long", file=name, high=INFOTEXT_MAX)
            if struct.pack(">I", zlib.crc32(kind + body)) != whole[-4:]:
                raise Refused("data_damaged", file=name)
            return _text(kind, body[len(keyword) + 1 :], name)
    except TooManyPartsError:
        raise Refused("data_damaged", file=name) from None
    raise Refused("data_comfyui" if comfyui else "data_none", file=name)


def _text(kind: bytes, body: bytes, name: str) -> str:
    """The text of a chunk, from what follows its keyword. Raises Refused."""
    encoding, packed = "latin-1", kind == b"zTXt"
    if packed:
        body = body[1:]
    elif kind == b"iTXt":
        encoding, packed = "utf-8", body[:1] == b"\1"
        # behind two bytes about the packing: the language and the keyword in it
        _, _, body = body[2:].partition(b"\0")
        _, _, body = body.partition(b"\0")
    if packed:
        body = _unpacked(body, name)
    try:
        text = body.decode(encoding)
        check_text("prompt", text)
    except (UnicodeDecodeError, Refused):
        raise Refused("data_damaged", file=name) from None
    if len(text) > INFOTEXT_MAX:
        raise Refused("data_too_long", file=name, high=INFOTEXT_MAX)
    return text.replace("\r\n", "\n").strip()


def _unpacked(body: bytes, name: str) -> bytes:
    """No more is unpacked than a text may have, whatever it would grow to."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(body, TEXT_MAX + 1)
    except zlib.error:
        raise Refused("data_damaged", file=name) from None
    if len(found) > TEXT_MAX:
        raise Refused("data_too_long", file=name, high=INFOTEXT_MAX)
    if not unpacking.eof:
        raise Refused("data_damaged", file=name)
    return found
