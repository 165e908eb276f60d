"""Files of finished pictures, as bytes: how PNG, JPEG and WebP are told, how large they say they
are, and what they carry of how the picture was made. No picture is decoded here.

In a PNG that is text in chunks. JPEG and WebP have it in EXIF, as A1111 does: the infotext in
UserComment, in UTF-16 behind `UNICODE`; our own request in MakerNote, behind `darkroom`.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from generation.request_fields import FileFormat, Quality

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
OWN_CHUNK: Final = "darkroom"
INFOTEXT_CHUNK: Final = "parameters"
SUFFIXES: Final[Mapping[FileFormat, str]] = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
HEADER_END: Final = len(PNG_SIGNATURE) + 25
"""Of a PNG: behind IHDR, which is length, name, 13 bytes, CRC."""

EXIF_IFD, MAKER_NOTE, USER_COMMENT = 0x8769, 0x927C, 0x9286
LONG, UNDEFINED = 4, 7
UNICODE: Final = b"UNICODE\0"
"""How EXIF says that a comment is UTF-16."""
OWN_MARK: Final = OWN_CHUNK.encode() + b"\0"
EXIF_MARK: Final = b"Exif\0\0"
SEGMENT_MAX: Final = 65_533
"""Bytes of what a segment of a JPEG holds."""
OWN_MAX: Final = 2**20
"""Bytes of a request that is unpacked."""
SOI: Final = b"\xff\xd8"
APP0: Final = b"\xff\xe0"
APP1: Final = b"\xff\xe1"
FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG's frame header, which holds the size."""
WEBP_EXIF, WEBP_ALPHA = 0x08, 0x10
"""Flags of a WebP's extended header."""


class OutputSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[output]`: the files that pictures become where nobody says."""

    format: FileFormat = "png"
    quality: Quality = 90
    """Of WebP, which is lossless at 100, and of JPEG."""


def format_of(data: bytes) -> FileFormat | None:
    """What a file is by its first bytes; None for what is none of ours."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(SOI):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def suffix_of(data: bytes) -> str:
    """How a file's name ends, `.png` for what is none of ours."""
    return SUFFIXES[format_of(data) or "png"]


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as a file of ours says them. Raises ValueError for another."""
    try:
        match format_of(data):
            case "png":
                width, height = struct.unpack(">II", data[16:24])
                return width, height
            case "jpeg":
                return _jpeg_size(data)
            case "webp":
                return _webp_canvas(data)[:2]
    except (struct.error, IndexError):
        raise ValueError("a file that is cut off") from None
    raise ValueError("no PNG, JPEG or WebP")


def carrying(data: bytes, infotext: str, own: bytes) -> bytes:
    """The same file with the infotext and our own request, JSON, in it. Raises ValueError for what
    is none of ours.
    """
    match format_of(data):
        case "png" if data[12:16] == b"IHDR":
            chunks = _text_chunk(INFOTEXT_CHUNK, infotext)
            chunks += _text_chunk(OWN_CHUNK, own.decode())
            return data[:HEADER_END] + chunks + data[HEADER_END:]
        case "jpeg":
            return _jpeg_with(data, exif(infotext, own, SEGMENT_MAX - len(EXIF_MARK)))
        case "webp":
            return _webp_with(data, exif(infotext, own))
    raise ValueError("no PNG, JPEG or WebP")


def exif(infotext: str, own: bytes, most: int = 0) -> bytes:
    """A TIFF structure with both. With `most` bytes that it may have, our own request is deflated
    where it is longer, and left out where that is still too long.
    """
    comment = UNICODE + infotext.encode("utf-16-be")
    for note in (OWN_MARK + own, OWN_MARK + zlib.compress(own, 9), b""):
        found = _tiff(comment, note)
        if not most or len(found) <= most:
            break
    return found


def own_request(note: bytes) -> bytes | None:
    """The JSON of a MakerNote that this program wrote; None for another's, or a damaged one."""
    if not note.startswith(OWN_MARK):
        return None
    body = note[len(OWN_MARK) :]
    if body[:1] == b"{":
        return body
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(body, OWN_MAX)
    except zlib.error:
        return None
    return found if unpacking.eof else None


def _tiff(comment: bytes, note: bytes) -> bytes:
    """Big-endian: the first directory points at EXIF's own, whose values lie behind it."""
    tags = [(MAKER_NOTE, note)] if note else []
    tags.append((USER_COMMENT, comment))
    start = 8 + 2 + 12 + 4
    at = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, value in tags:
        entries += struct.pack(">HHII", tag, UNDEFINED, len(value), at + len(values))
        values += value + b"\0" * (len(value) % 2)
    first = struct.pack(">HHHIII", 1, EXIF_IFD, LONG, 1, start, 0)
    own = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    return struct.pack(">2sHI", b"MM", 42, 8) + first + own + values


def _jpeg_with(data: bytes, tiff: bytes) -> bytes:
    at = len(SOI)
    if data[at : at + 2] == APP0:
        # JFIF wants to be first
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    body = EXIF_MARK + tiff
    return data[:at] + APP1 + (len(body) + 2).to_bytes(2, "big") + body + data[at:]


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = len(SOI)
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("a JPEG without a frame")


def _webp_with(data: bytes, tiff: bytes) -> bytes:
    width, height, alpha = _webp_canvas(data)
    chunks = data[12:]
    if data[12:16] == b"VP8X":
        flags = data[20] | WEBP_EXIF
        chunks = data[30:]
    else:
        flags = WEBP_EXIF | (WEBP_ALPHA if alpha else 0)
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    header = _riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + canvas)
    body = b"WEBP" + header + chunks + _riff_chunk(b"EXIF", tiff)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _webp_canvas(data: bytes) -> tuple[int, int, bool]:
    """Width and height in pixels, and whether there is transparency."""
    match data[12:16]:
        case b"VP8X":
            width = int.from_bytes(data[24:27], "little") + 1
            height = int.from_bytes(data[27:30], "little") + 1
            return width, height, bool(data[20] & WEBP_ALPHA)
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
        case b"VP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF, False
    raise ValueError("a WebP without a picture")


def _riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _text_chunk(keyword: str, text: str) -> bytes:
    """tEXt where Latin-1 holds the text, as the PNG specification wants it, else iTXt (UTF-8)."""
    try:
        name, data = b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        name, data = b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
