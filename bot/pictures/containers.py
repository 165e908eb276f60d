"""What of a picture's file its decoder is given: the pixels and what says how they are meant.

Text, thumbnails, further frames and everything else that a file may carry is cut out unread. It is
where most faults of picture files lie, and a viewer ignores all of it.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
PARTS_MAX: Final = 50_000
"""Chunks of a PNG, segments of a JPEG. Encoders write one for each few KiB."""
SCANS_MAX: Final = 100
"""Passes over a progressive JPEG; encoders make about ten, and each may cover every pixel."""
PROFILE_MAX: Final = 4 * 2**20
"""Bytes of an ICC profile; those of printing presses reach 2 MiB."""
EXIF_MAX: Final = 2**20
GAMMA_PER_UNIT: Final = 100_000

PNG_CRITICAL: Final = (b"PLTE", b"IDAT", b"IEND")
TRANSPARENCY_BYTES: Final[Mapping[int, range]] = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
"""How long tRNS is by colour type: grey, RGB, palette."""
JPEG_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length: TEM and the restarts."""
SOI, EOI, SOS, COM, APP0, APP1, APP2, APP14 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE
EXIF_NAME: Final = b"Exif\0\0"
ICC_NAME: Final = b"ICC_PROFILE\0"
NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""Within compressed data, where FF 00 is a byte of it and restarts belong to it."""

OTHERS: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("HEIC", rb".{4}ftyp(hei[cxms]|hev[cx]|(mif1|msf1)(?!.{0,64}avi[fs]))"),
        ("JPEG XL", rb"\xff\x0a|.{4}JXL "),
        ("JPEG 2000", rb"\xff\x4f\xff\x51|.{4}jP  "),
        ("TIFF", rb"II[*+]\0|MM\0[*+]"),
        ("Photoshop", rb"8BPS"),
        ("PDF", rb"%PDF-"),
        ("ICO", rb"\0\0[\1\2]\0(?!ftyp)"),
        ("SVG", rb"\s*(\xef\xbb\xbf)?\s*(<\?xml.{0,900}|<!--.{0,900}|<!DOCTYPE.{0,200})?<svg\b"),
        ("HTML", rb"\s*(<!doctype html|<!DOCTYPE html|<html)"),
        ("video", rb".{4}ftyp(isom|iso\d|mp4\d|avc1|M4V |qt  )|\x1a\x45\xdf\xa3"),
    )
)
"""Files that people take for pictures of a kind that is read, and by what they begin."""


class Contents(msgspec.Struct, frozen=True):
    """A picture's file without what is not of its pixels."""

    data: bytes
    exif: bytes = b""
    """A TIFF structure, with or without `Exif\\0\\0` before it; nobody has looked inside."""
    profile: bytes = b""
    """An ICC profile, unchecked."""
    gamma: float | None = None
    """What PNG's gAMA says, where nothing better says what the colours are."""


class TooManyPartsError(ValueError):
    """A file whose parts alone cost more than its picture can be worth."""


class DamagedError(ValueError):
    """A file whose structure ends before its picture begins."""


def contents(data: bytes) -> Contents:
    """The parts of a PNG, JPEG or AVIF that count; other files as they are.

    Raises TooManyPartsError, DamagedError.
    """
    if data.startswith(PNG_SIGNATURE):
        return _of_png(data)
    if data.startswith(JPEG_SIGNATURE):
        return _of_jpeg(data)
    if data[4:8] == b"ftyp":
        return Contents(_without_exif(data))
    return Contents(data)


def other_format(data: bytes) -> str | None:
    """The name of a format that is known and not read; None for every other file."""
    start = data[:2048]
    return next((name for name, pattern in OTHERS if pattern.match(start)), None)


# PNG


def _of_png(data: bytes) -> Contents:
    header = data[len(PNG_SIGNATURE) : len(PNG_SIGNATURE) + 25]
    if len(header) < 25 or header[4:8] != b"IHDR":
        raise DamagedError("no IHDR")
    kept, exif, profile, gamma, exact = [PNG_SIGNATURE, header], b"", b"", None, False
    for name, body, whole in chunks(data, len(PNG_SIGNATURE) + 25):
        if name in PNG_CRITICAL:
            kept.append(whole)
            continue
        if name == b"IHDR" or struct.pack(">I", zlib.crc32(name + body)) != whole[-4:]:
            continue  # what is optional and damaged is left out, as every viewer does
        match name:
            case b"tRNS" if len(body) in TRANSPARENCY_BYTES.get(header[17], ()):
                kept.append(whole)
            case b"eXIf" if len(body) <= EXIF_MAX:
                exif = body
            case b"iCCP":
                profile = _inflated(body.partition(b"\0")[2][1:], PROFILE_MAX)
            case b"sRGB" | b"cICP":
                exact = True
            case b"gAMA" if len(body) == 4:
                gamma = int.from_bytes(body, "big") / GAMMA_PER_UNIT
            case _ if name[:1].isupper():
                kept.append(whole)  # critical and unknown: for the decoder to refuse
    return Contents(b"".join(kept), exif, profile, None if exact or profile else gamma)


def chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Name, body and the whole of each chunk of a PNG from there on; one that is cut off is the
    last. Raises TooManyPartsError.
    """
    for _ in range(PARTS_MAX):
        start = data[at : at + 8]
        if len(start) < 8:
            return
        end = at + 12 + int.from_bytes(start[:4], "big")
        yield start[4:], data[at + 8 : end - 4], data[at:end]
        if start[4:] == b"IEND":
            return
        at = end
    raise TooManyPartsError(f"more than {PARTS_MAX} chunks")


def _inflated(packed: bytes, most: int) -> bytes:
    """Nothing for what is damaged, or larger than `most` when unpacked."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, most + 1)
    except zlib.error:
        return b""
    return found if len(found) <= most and unpacking.eof else b""


# JPEG


def _of_jpeg(data: bytes) -> Contents:
    kept, exif, scans = [data[:2]], b"", 0
    profiles: dict[int, bytes] = {}
    for marker, whole in segments(data):
        body = whole[4:]
        if marker == SOS:
            scans += 1
            if scans > SCANS_MAX:
                raise TooManyPartsError(f"more than {SCANS_MAX} scans")
        if marker == APP1 and body.startswith(EXIF_NAME):
            exif = exif or body
        elif marker == APP2 and body.startswith(ICC_NAME) and len(body) > len(ICC_NAME) + 2:
            profiles.setdefault(body[len(ICC_NAME)], body[len(ICC_NAME) + 2 :])
        if marker in (APP0, APP14) or (marker != COM and marker not in range(APP0, APP0 + 16)):
            kept.append(whole)
    profile = b"".join(profiles[number] for number in sorted(profiles))
    return Contents(b"".join(kept), exif, profile if len(profile) <= PROFILE_MAX else b"")


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and segment of a JPEG up to EOI; that of a scan goes on with its compressed data.
    Raises TooManyPartsError.
    """
    at = 2
    for _ in range(PARTS_MAX):
        found = NEXT_MARKER.search(data, at)
        if found is None:
            return
        at = found.end() - 2
        marker = data[at + 1]
        if marker == EOI:
            yield marker, data[at : at + 2]
            return
        if marker in JPEG_ALONE or marker == SOI:
            at += 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if marker == SOS:
            following = NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, data[at:end]
        at = end
    raise TooManyPartsError(f"more than {PARTS_MAX} segments")


# AVIF


def _without_exif(data: bytes) -> bytes:
    """Its Exif item under a name that nobody reads: an AVIF says itself how it is turned."""
    at = 0
    for _ in range(PARTS_MAX):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"meta":
            meta = data[at : at + size].replace(b"Exif", b"free")
            return data[:at] + meta + data[at + size :]
        if size < 8:
            break
        at += size
    return data
