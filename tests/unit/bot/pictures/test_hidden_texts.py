"""Texts hidden in the pixels of a picture: as programs hide them, cut off, and made to do harm."""

import gzip
import json

import pytest
from PIL import Image

from bot.pictures.decoding import PictureDecoder
from bot.pictures.hidden_texts import PACKED, PLAIN, hidden, may_hide
from bot.pictures.infos import info_of
from generation.info.found import TEXT_MAX
from generation.refusal import Refused
from generation.rules import Limits
from tests.fixtures.pictures import drawn, encoded
from tests.unit.generation.info.test_programs import novelai_texts

TEXT = "a lighthouse, 灯塔\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 64x64"
PIXELS = 10_000_000


def hiding(mark: bytes, body: bytes, length: int | None = None, side: int = 200) -> bytes:
    """A PNG that hides them, each bit in the alpha of a pixel, down one column after the other."""
    whole = mark + (8 * len(body) if length is None else length).to_bytes(4, "big") + body
    bits = "".join(f"{byte:08b}" for byte in whole)
    picture = drawn(side, side, "RGBA")
    alpha = Image.new("L", (side, side), 255)
    for place, bit in enumerate(bits):
        alpha.putpixel((place // side, place % side), 254 | int(bit))
    picture.putalpha(alpha)
    return encoded(picture, "PNG")


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_hidden_is_found(packed: bool) -> None:
    body = gzip.compress(TEXT.encode()) if packed else TEXT.encode()
    data = hiding(PACKED if packed else PLAIN, body)
    assert may_hide(data)
    assert hidden(data, PIXELS).decode() == TEXT


def test_where_nothing_is_hidden_nothing_is_found() -> None:
    for mode in ("RGBA", "LA"):
        data = encoded(drawn(mode="RGBA").convert(mode), "PNG")
        assert may_hide(data)
        assert hidden(data, PIXELS) == b""
    assert not may_hide(encoded(drawn(), "PNG"))
    assert not may_hide(encoded(drawn(), "WEBP"))
    assert hidden(encoded(Image.new("RGBA", (1, 1)), "PNG"), PIXELS) == b""


@pytest.mark.parametrize(
    ("mark", "body", "length", "code"),
    [
        (PLAIN, b"", 2**32 - 1, "data_damaged"),
        (PLAIN, b"abc", 10**6, "data_damaged"),
        (PACKED, b"no gzip", None, "data_damaged"),
        (PACKED, gzip.compress(bytes(TEXT_MAX + 1)), None, "data_too_long"),
    ],
)
def test_damage_and_bombs_are_refused(
    mark: bytes, body: bytes, length: int | None, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        hidden(hiding(mark, body, length, side=300), PIXELS)
    assert refused.value.code == code


async def test_what_is_hidden_says_how_the_picture_was_made() -> None:
    both = gzip.compress(json.dumps(novelai_texts()).encode())
    async with PictureDecoder(Limits()) as decoder:
        info = await info_of(hiding(PACKED, gzip.compress(TEXT.encode())), "cat.png", decoder)
        assert (info.program, info.negative_prompt) == ("AUTOMATIC1111", "fog")
        info = await info_of(hiding(PACKED, both), "cat.png", decoder)
        assert info.program == "NovelAI"
        for data in (encoded(drawn(mode="RGBA"), "PNG"), hiding(PLAIN, b"\xff\xfe")):
            with pytest.raises(Refused) as refused:
                await info_of(data, "cat.png", decoder)
            assert refused.value.code in ("data_none", "data_damaged")
            assert refused.value.params["file"] == "cat.png"
