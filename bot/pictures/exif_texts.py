"""The texts in a picture's EXIF, which is a TIFF structure, by the names of generation.info.

Only the first directory is read and the one that it names for EXIF's own tags, neither of them
twice, and of each so many entries; an entry that can't be is left out.
"""

import struct
from collections.abc import Iterator
from typing import Final

from generation.picture_files import MAKER_NOTE, OWN_CHUNK, USER_COMMENT, own_request

ENTRIES_MAX: Final = 300
BYTES_MAX: Final = 2**23
"""Of all texts together; they may lie upon each other."""
ASCII, BYTES, UNDEFINED = 2, 1, 7
SIZES: Final = {ASCII: 1, BYTES: 1, UNDEFINED: 1}
"""Bytes of one value, of the types that texts have."""
EXIF_DIRECTORY, LONG = 0x8769, 4
DESCRIPTION, SOFTWARE = 0x010E, 0x0131
GRAPHS: Final = range(0x0100, 0x0111)
"""Model (0x0110), and from Make (0x010F) downwards: where ComfyUI keeps `prompt:…`."""
GRAPH_NAMES: Final = ("prompt", "workflow")
CHARSET_BYTES: Final = 8
NAMES: Final = {
    USER_COMMENT: "UserComment",
    DESCRIPTION: "Description",
    SOFTWARE: "Software",
    MAKER_NOTE: "fooocus_scheme",
}


def read(body: bytes) -> dict[str, str]:
    """The texts by name; those that are damaged are left out."""
    tiff = body.removeprefix(b"Exif\0\0")
    found: dict[str, str] = {}
    for tag, value in _entries(tiff):
        try:
            own = own_request(value) if tag == MAKER_NOTE else None
            if own is not None:
                found.setdefault(OWN_CHUNK, own.decode())
                continue
            text = user_comment(value) if tag == USER_COMMENT else decoded(value)
        except UnicodeDecodeError:
            continue
        name, colon, rest = text.partition(":")
        if tag in GRAPHS and colon and name.strip().casefold() in GRAPH_NAMES:
            found.setdefault(name.strip().casefold(), rest.strip())
        elif tag in NAMES and text.strip():
            found.setdefault(NAMES[tag], text.strip())
    return found


def user_comment(value: bytes) -> str:
    """EXIF's own form: eight bytes name the characters. Raises UnicodeDecodeError.

    Programs disagree on the order of UTF-16's bytes, and some leave the name out.
    """
    charset, text = value[:CHARSET_BYTES], value[CHARSET_BYTES:]
    if charset == b"UNICODE\0":
        return _utf_16(text)
    if charset in (b"ASCII\0\0\0", bytes(CHARSET_BYTES)):
        return decoded(text)
    if charset == b"JIS\0\0\0\0\0":
        return text.decode("iso2022_jp")
    return decoded(value)


def decoded(value: bytes) -> str:
    """A text in UTF-8, as it should be, or in Latin-1; its end is marked by NUL."""
    value = value.rstrip(b"\0")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _utf_16(text: bytes) -> str:
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16").rstrip("\0")
    text = text[: len(text) // 2 * 2]
    # whatever is written, a list of parameters has many signs of ASCII, whose high bytes are NUL
    big = text[0::2].count(0) >= text[1::2].count(0)
    return text.decode("utf-16-be" if big else "utf-16-le").rstrip("\0")


def _entries(tiff: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and bytes of each entry that may be a text."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return
    room = BYTES_MAX
    waiting = [int(struct.unpack_from(f"{order}I", tiff, 4)[0])]
    for directory in waiting:
        if directory + 2 > len(tiff):
            continue
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(min(count, ENTRIES_MAX)):
            at = directory + 2 + 12 * number
            if at + 12 > len(tiff):
                break
            tag, kind, length = struct.unpack_from(f"{order}HHI", tiff, at)
            (offset,) = struct.unpack_from(f"{order}I", tiff, at + 8)
            if tag == EXIF_DIRECTORY and kind == LONG and len(waiting) == 1:
                waiting.append(offset)
            elif kind in SIZES:
                start = at + 8 if length <= 4 else offset
                room -= length
                if room >= 0 and start + length <= len(tiff):
                    yield tag, tiff[start : start + length]
