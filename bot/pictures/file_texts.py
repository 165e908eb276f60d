"""The texts that a picture's file carries, by the names that programs keep them under.

No library reads them: of a hostile file only the parts are looked into that may hold generation
data, the first of each name, and no more of one is unpacked than such a text may have.
"""

import functools
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bot.pictures import exif_texts
from bot.pictures.containers import (
    COM,
    EXIF_NAME,
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    TooManyPartsError,
    chunks,
    segments,
)
from generation.info.found import KEYWORDS, TEXT_MAX, XMP
from generation.refusal import Refused
from generation.request_fields import check_text

BODY_MAX: Final = TEXT_MAX + 1000
"""Bytes of a chunk: the text, and what stands before it."""
IN_ALL_MAX: Final = 2 * TEXT_MAX
"""Bytes of all texts of a file together."""
TEXT_CHUNKS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt"))
KEYWORD_MAX: Final = 79
HEADER_BYTES: Final = 25
"""Of a PNG's first chunk."""
RIFF_PARTS_MAX: Final = 10_000
XMP_NAME: Final = b"http://ns.adobe.com/xap/1.0/\0"
TIFF_STARTS: Final = (b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0")
_KEYWORDS: Final = {keyword.encode(): keyword for keyword in KEYWORDS}


def texts(data: bytes, name: str) -> dict[str, str]:
    """The texts of a PNG, JPEG, WebP or AVIF under generation.info's KEYWORDS. Blocks.

    Raises Refused about the file `name`: for what is no such picture, and where all that might be
    of use is damaged or too long.
    """
    found = _FoundTexts(name)
    try:
        if data.startswith(PNG_SIGNATURE):
            _of_png(data, found)
        elif data.startswith(JPEG_SIGNATURE):
            _of_jpeg(data, found)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            _of_webp(data, found)
        elif data[4:8] == b"ftyp":
            _of_avif(data, found)
        else:
            raise Refused("data_no_picture", file=name)
    except TooManyPartsError:
        found.refuse("data_damaged")
    if not found.texts and found.refused is not None:
        raise found.refused
    return found.texts


class _FoundTexts:
    """What has been found of a file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.texts: dict[str, str] = {}
        self.refused: Refused | None = None
        """Why the first text was left out that was."""
        self._bytes = 0

    def refuse(self, code: str, **params: int) -> None:
        self.refused = self.refused or Refused(code, file=self.name, **params)

    def add(self, keyword: str, read: Callable[[], str]) -> None:
        """Take a text that `read` gives, unless there is one of that name. Refusals are kept."""
        if keyword in self.texts:
            return
        try:
            text = read().replace("\r\n", "\n").strip()
            check_text(keyword, text)
        except Refused as refused:
            self.refuse(refused.code if refused.code.startswith("data_") else "data_damaged")
            return
        except UnicodeDecodeError:
            self.refuse("data_damaged")
            return
        self._bytes += len(text)
        if self._bytes > IN_ALL_MAX:
            self.refuse("data_too_long")
        elif text:
            self.texts[keyword] = text

    def add_all(self, read: Mapping[str, str]) -> None:
        for keyword, text in read.items():
            self.add(keyword, functools.partial(str, text))


def _of_png(data: bytes, found: _FoundTexts) -> None:
    for kind, body, whole in chunks(data, len(PNG_SIGNATURE) + HEADER_BYTES):
        if kind == b"eXIf":
            found.add_all(exif_texts.read(body))
        if kind not in TEXT_CHUNKS:
            continue
        keyword, _, rest = body[: KEYWORD_MAX + 1].partition(b"\0")
        name = _KEYWORDS.get(keyword)
        if name is None or name in found.texts or len(body) == len(keyword) or not rest:
            continue
        if len(body) > BODY_MAX:
            found.refuse("data_too_long")
        elif struct.pack(">I", zlib.crc32(kind + body)) != whole[-4:]:
            found.refuse("data_damaged")
        else:
            text = body[len(keyword) + 1 :]
            found.add(name, functools.partial(_text, kind, text))


def _of_jpeg(data: bytes, found: _FoundTexts) -> None:
    for marker, whole in segments(data):
        body = whole[4:]
        if marker == COM:
            found.add("Comment", functools.partial(exif_texts.decoded, body))
        elif body.startswith(EXIF_NAME):
            found.add_all(exif_texts.read(body))
        elif body.startswith(XMP_NAME):
            found.add(XMP, body[len(XMP_NAME) :].decode)


def _of_webp(data: bytes, found: _FoundTexts) -> None:
    for kind, body in _riff_parts(data):
        if kind == b"EXIF" and len(body) <= BODY_MAX:
            found.add_all(exif_texts.read(body))
        elif kind == b"XMP " and len(body) <= BODY_MAX:
            found.add(XMP, body.decode)


def _riff_parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    for _ in range(RIFF_PARTS_MAX):
        head = data[at : at + 8]
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        yield head[:4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise TooManyPartsError(f"more than {RIFF_PARTS_MAX} parts")


def _of_avif(data: bytes, found: _FoundTexts) -> None:
    """Its EXIF lies among its pictures, wherever an index says: it is known by how it begins."""
    for start in TIFF_STARTS:
        at = data.find(start)
        if at >= 0:
            found.add_all(exif_texts.read(data[at : at + BODY_MAX]))


def _text(kind: bytes, body: bytes) -> str:
    """The text of a chunk, from what follows its keyword. Raises Refused, UnicodeDecodeError."""
    encoding, packed = "latin-1", kind == b"zTXt"
    if packed:
        body = body[1:]
    elif kind == b"iTXt":
        encoding, packed = "utf-8", body[:1] == b"\1"
        # behind two bytes about the packing: the language and the keyword in it
        _, _, body = body[2:].partition(b"\0")
        _, _, body = body.partition(b"\0")
    return (unpacked(body) if packed else body).decode(encoding)


def unpacked(body: bytes, wrapping: int = zlib.MAX_WBITS) -> bytes:
    """No more is unpacked than a text may have, whatever it would grow to. Raises Refused."""
    unpacking = zlib.decompressobj(wrapping)
    try:
        found = unpacking.decompress(body, TEXT_MAX + 1)
    except zlib.error:
        raise Refused("data_damaged") from None
    if len(found) > TEXT_MAX:
        raise Refused("data_too_long")
    if not unpacking.eof:
        raise Refused("data_damaged")
    return found
