"""Texts in picture files: as programs write them, damaged, and made to do harm."""

import random
import tracemalloc
import zlib

import pytest
from PIL import Image, PngImagePlugin

from bot.pictures import file_texts
from bot.pictures.containers import PARTS_MAX
from generation.info.found import TEXT_MAX
from generation.metadata import About, embed, infotext
from generation.refusal import Refused
from tests.fixtures.pictures import chunk, drawn, encoded, with_chunks
from tests.fixtures.requests import a_request

TEXT = """a lighthouse, (stormy:1.2) <lora:ink:0.8>
Negative prompt: fog
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 512x768"""
PNG = encoded(drawn(), "PNG")
MIB = 2**20


def by_pillow(text: str, *, zip_: bool = False, keyword: str = "parameters") -> bytes:
    """As A1111's webui writes it: tEXt, or iTXt where Latin-1 does not hold the text."""
    info = PngImagePlugin.PngInfo()
    info.add_text(keyword, text, zip=zip_)
    return encoded(drawn(), "PNG", pnginfo=info)


def read(data: bytes) -> str | None:
    return file_texts.texts(data, "cat.png").get("parameters")


def refusal(data: bytes) -> str:
    with pytest.raises(Refused) as raised:
        read(data)
    assert raised.value.params["file"] == "cat.png"
    return raised.value.code


@pytest.mark.parametrize("zip_", [False, True])
@pytest.mark.parametrize("text", [TEXT, TEXT.replace("stormy", "stürmisch"), f"灯塔 {TEXT}"])
def test_what_programs_write_is_read(text: str, zip_: bool) -> None:
    assert read(by_pillow(text, zip_=zip_)) == text


def test_every_kind_of_chunk_wherever_it_stands() -> None:
    packed = zlib.compress(TEXT.encode())
    kinds = (
        chunk(b"tEXt", b"parameters\0" + TEXT.encode()),
        chunk(b"zTXt", b"parameters\0\0" + packed),
        chunk(b"iTXt", b"parameters\0\0\0en\0Parameter\0" + TEXT.encode()),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + packed),
    )
    end = PNG.rindex(chunk(b"IEND", b""))
    for kind in kinds:
        other = chunk(b"tEXt", b"Copyright\0parameters")
        assert read(with_chunks(PNG, other, kind)) == TEXT
        assert read(PNG[:end] + kind + PNG[end:]) == TEXT


def test_our_own_are_read_too() -> None:
    about = About(request=a_request(prompt="a fox"), index=0, seed=5)
    assert read(embed(PNG, about)) == infotext(about)


def test_what_has_none_has_none() -> None:
    assert file_texts.texts(PNG, "cat.png") == {}
    for kind in ("JPEG", "WEBP", "AVIF"):
        assert file_texts.texts(encoded(Image.new("RGB", (8, 8)), kind), "cat") == {}
    assert refusal(b"") == "data_no_picture"
    assert refusal(encoded(Image.new("RGB", (8, 8)), "BMP")) == "data_no_picture"


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (chunk(b"tEXt", b"parameters\0a", crc=1), "data_damaged"),
        (chunk(b"iTXt", b"parameters\0\0\0\0\0\xff\xfe"), "data_damaged"),
        (chunk(b"tEXt", b"parameters\0a\0b"), "data_damaged"),
        (chunk(b"zTXt", b"parameters\0\0nothing packed"), "data_damaged"),
        (chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"abc")[:-6]), "data_damaged"),
        (chunk(b"tEXt", b"parameters\0" + b"a" * (TEXT_MAX + 1001)), "data_too_long"),
        (chunk(b"tEXt", b"parameters\0" + b"a" * (8 * MIB)), "data_too_long"),
        (chunk(b"tEXt", b"x") * (PARTS_MAX + 1), "data_damaged"),
        (b"\xff\xff\xff\xfftEXtparameters\0a", "data_damaged"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else value,
)
def test_damage_and_too_much_are_refused(made: bytes, code: str) -> None:
    assert refusal(with_chunks(PNG, made)) == code


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_a_bomb_is_not_unpacked(kind: str) -> None:
    """Of a gigabyte no more is unpacked than a text may have, one at a time."""
    packing = zlib.compressobj(9)
    bomb = b"".join(packing.compress(bytes(MIB)) for _ in range(64)) + packing.flush()
    head = b"parameters\0\0" if kind == "zTXt" else b"parameters\0\1\0\0\0"
    data = with_chunks(PNG, *[chunk(kind.encode(), head + bomb)] * 20)
    tracemalloc.start()
    try:
        assert refusal(data) == "data_too_long"
        assert tracemalloc.get_traced_memory()[1] < 3 * TEXT_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_whatever_is_changed_in_a_file_it_is_read_or_refused(count: int) -> None:
    chance = random.Random(count)
    packed = zlib.compress(TEXT.encode())
    sound = [
        by_pillow(TEXT),
        by_pillow(f"灯塔 {TEXT}"),
        with_chunks(PNG, chunk(b"iTXt", b"parameters\0\1\0\0\0" + packed)),
        with_chunks(PNG, chunk(b"zTXt", b"parameters\0\0" + packed)),
    ]
    count_read = 0
    for _ in range(count):
        data = bytearray(chance.choice(sound))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 40)]
                case 2:
                    data[at:at] = chance.randbytes(chance.randint(1, 40))
                case _:
                    # a body that its checksum fits, whatever is in it
                    kind = chance.choice([b"tEXt", b"zTXt", b"iTXt"])
                    body = b"parameters\0" + chance.randbytes(chance.randint(0, 60))
                    data[33:33] = chunk(kind, body)
        try:
            text = read(bytes(data))
        except Refused:
            continue
        if text is None:
            continue
        count_read += 1
        assert "\0" not in text
    assert count_read
