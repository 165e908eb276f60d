"""Texts in EXIF: as programs write them, of every order and kind, and damaged."""

import random
import struct

import msgspec
import pytest
from PIL import Image

from bot.pictures import exif_texts, file_texts
from generation.metadata import About, embed, infotext
from generation.refusal import Refused
from tests.fixtures.fuzz import CASES
from tests.fixtures.pictures import DATA, drawn, encoded, with_segments
from tests.fixtures.requests import a_request

TEXT = """a lighthouse, 灯塔, (stormy：1.2) "é", ，
Negative prompt: fog
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768"""
KINDS = ("JPEG", "WEBP", "AVIF", "PNG")


def comment(value: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = value
    return exif.tobytes()


def read(exif: bytes, kind: str = "JPEG") -> dict[str, str]:
    return file_texts.texts(encoded(drawn(), kind, exif=exif), "cat")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "value",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"ASCII\0\0\0" + TEXT.encode(),
        bytes(8) + TEXT.encode() + b"\0\0",
        TEXT.encode(),
    ],
    ids=["big", "little", "marked", "ascii", "undefined", "bare"],
)
def test_a_user_comment_is_read_however_it_is_written(kind: str, value: bytes) -> None:
    assert read(comment(value), kind) == {"UserComment": TEXT}


def test_a_comment_of_a_jpeg_is_read_in_utf_8_and_latin_1() -> None:
    jpeg = encoded(drawn(), "JPEG")
    for body in (TEXT.encode(), "é Steps".encode("latin-1")):
        found = file_texts.texts(with_segments(jpeg, (0xFE, body)), "cat")
        assert found == {"Comment": body.decode("utf-8" if b"Size" in body else "latin-1")}


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_comfyui_keeps_its_graphs_under_the_makers_tags(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0110] = 'prompt:{"3": {}}'
    exif[0x010F] = 'workflow:{"nodes": []}'
    exif[0x010E] = "a lighthouse"
    assert read(exif.tobytes(), kind) == {
        "prompt": '{"3": {}}',
        "workflow": '{"nodes": []}',
        "Description": "a lighthouse",
    }


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("length", [10, 4000])
def test_our_own_files_carry_both_texts(kind: str, length: int) -> None:
    about = About(request=a_request(prompt="灯" * length), index=0, seed=7)
    texts = file_texts.texts(embed(encoded(drawn(), kind), about), "cat")
    assert msgspec.json.decode(texts["darkroom"], type=About) == about
    said = texts["parameters"] if kind == "PNG" else texts["UserComment"]
    assert said == infotext(about)


@pytest.mark.parametrize("file", sorted(DATA.glob("exif*")), ids=lambda file: file.name)
def test_cameras_odd_files_have_no_text(file) -> None:  # type: ignore[no-untyped-def]
    assert "UserComment" not in file_texts.texts(file.read_bytes(), file.name)


def test_entries_that_lie_upon_each_other_are_not_read_for_ever() -> None:
    count = 300
    head = b"II*\0" + struct.pack("<IH", 8, count)
    size = 4_000_000
    entries = b"".join(struct.pack("<HHII", 0x9286, 7, size, 0) for _ in range(count))
    # its own directory, too
    loop = struct.pack("<HHII", 0x8769, 4, 1, 8)
    tiff = head + loop + entries[12:] + b"\0" * size
    assert exif_texts.read(tiff).keys() <= {"UserComment"}


@pytest.mark.parametrize("count", CASES)
def test_whatever_is_changed_it_is_read_or_left_out(count: int) -> None:
    chance = random.Random(count)
    exif = Image.Exif()
    exif[0x0110] = "prompt:{}"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + TEXT.encode("utf-16-be")
    sound = [encoded(drawn(8, 8), kind, exif=exif.tobytes()) for kind in ("JPEG", "WEBP", "AVIF")]
    found = 0
    for _ in range(count):
        data = bytearray(chance.choice(sound))
        start = max(data.find(b"MM\0*"), 0)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(start, min(len(data), start + 200))
            if chance.random() < 0.7:
                data[at] = chance.choice((0, 1, 2, 7, 0xFF, chance.randrange(256)))
            elif chance.random() < 0.5:
                del data[at : at + chance.randint(1, 40)]
            else:
                data[at:at] = chance.randbytes(chance.randint(1, 40))
        try:
            texts = file_texts.texts(bytes(data), "cat")
        except Refused:
            continue
        found += bool(texts)
        assert all("\0" not in text for text in texts.values())
    assert found
