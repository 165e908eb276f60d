"""Ten thousand damaged pictures: each becomes a picture or a refusal, and nothing is used up."""

import io
import random
import struct
import zlib

import psutil
import pytest
from PIL import Image, ImageCms

from bot.pictures.decoder_messages import Normalise
from bot.pictures.decoding_process import DecodingProcess
from bot.pictures.normalising import FORMATS, Bounds
from generation.refusal import Refused
from tests.fixtures.pictures import DATA, chunk, drawn, encoded, exif, with_chunks, with_segments

BOUNDS = Bounds(pixels=1_000_000, side=256, cover=128, longest=512)
MEMORY = 512 * 2**20
SECONDS = 10.0
SAID = {"picture_unreadable", "picture_too_large", "picture_too_slow", "picture_too_much_memory",
        "picture_format"}  # fmt: skip
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
GROWN_MAX = 32 * 2**20
"""Bytes by which the process may grow; a leak of one small picture each would be 70 MiB."""


def sound() -> list[bytes]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = b"Exif\0\0" + exif(6)
    frames = {"save_all": True, "append_images": [drawn(mode="L")] * 3, "duration": 50}
    png = encoded(drawn(), "PNG", icc_profile=profile, exif=turned)
    text = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a cat" * 99))
    found = [encoded(drawn(), format_) for format_ in FORMATS]
    found += [encoded(drawn(mode=mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]
    found += [
        encoded(drawn(), "JPEG", icc_profile=profile, exif=turned, progressive=True),
        with_segments(encoded(drawn(), "JPEG"), (0xFE, b"text"), (0xED, b"Photoshop 3.0\0")),
        encoded(drawn(mode="CMYK"), "JPEG"),
        with_chunks(png, text, chunk(b"gAMA", (99_000).to_bytes(4, "big"))),
        encoded(drawn(), "WEBP", lossless=True, icc_profile=profile, exif=turned),
        encoded(drawn(mode="RGBA"), "WEBP"),
        encoded(drawn(mode="RGBA"), "AVIF", exif=turned),
        encoded(drawn(mode="P"), "BMP"),
        *(encoded(drawn(), format_, **frames) for format_ in ("PNG", "GIF", "WEBP", "AVIF")),
    ]
    return found + [file.read_bytes() for file in sorted(DATA.iterdir())]


def mutated(chance: random.Random, pictures: list[bytes]) -> bytes:
    """One of the pictures with a few of its bytes changed, moved, cut out or put in."""
    data = bytearray(chance.choice(pictures))
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        if chance.random() < 0.5:
            at = min(at, chance.randrange(200))  # where the structure is
        length = chance.choice((1, 2, 4, 8, 100))
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + length] = chance.randbytes(length)
            case 2:
                size = chance.choice((1, 2, 4))
                value = chance.choice(EXTREMES) % 256**size
                data[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length] * chance.choice((1, 2, 50))
            case 5:
                del data[at:]
            case 6:
                other = chance.choice(pictures)
                data[at:] = other[min(at, len(other)) :]
    if data.startswith(b"\x89PNG") and chance.random() < 0.7:
        return with_right_checksums(bytes(data))
    return bytes(data)


def with_right_checksums(png: bytes) -> bytes:
    """Else nothing behind a changed byte would ever be looked at."""
    found, at = [png[:8]], 8
    while at + 12 <= len(png):
        [length] = struct.unpack(">I", png[at : at + 4])
        found.append(chunk(png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(found)


async def outcomes(count: int, seed: int) -> tuple[dict[str, int], int]:
    """How often each outcome came, and by how much the process grew after the first tenth."""
    chance, pictures = random.Random(seed), sound()
    found: dict[str, int] = {}
    before = 0
    async with DecodingProcess(memory=MEMORY, seconds=SECONDS) as decoder:
        for number in range(count):
            if number == count // 10:
                before = resident(decoder)
            data = mutated(chance, pictures)
            try:
                made = await decoder.make(Normalise(BOUNDS), [data], "a.png")
            except Refused as refused:
                outcome = refused.code
            else:
                with Image.open(io.BytesIO(made)) as picture:
                    outcome = f"{picture.format} {picture.mode}"
                    assert max(picture.size) <= BOUNDS.longest
            found[outcome] = found.get(outcome, 0) + 1
        return found, resident(decoder) - before


def resident(decoder: DecodingProcess) -> int:
    assert decoder._child is not None
    return int(psutil.Process(decoder._child._process.pid).memory_info().rss)


async def test_a_few_damaged_pictures() -> None:
    found, _ = await outcomes(60, seed=1)
    assert set(found) <= SAID | {"PNG RGB"}
    assert min(found["PNG RGB"], found["picture_unreadable"]) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_ten_thousand_damaged_pictures() -> None:
    found, grown = await outcomes(10_000, seed=2)
    assert set(found) <= SAID | {"PNG RGB"}
    assert min(found["PNG RGB"], found["picture_unreadable"]) > 1000
    assert grown < GROWN_MAX
