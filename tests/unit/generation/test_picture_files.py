"""The files of finished pictures: what they carry, in every format, and how large they are."""

import io
import random
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation import metadata, picture_files
from generation.picture_encoding import encoded
from generation.picture_files import EXIF_IFD, MAKER_NOTE, USER_COMMENT, own_request
from generation.request_fields import PROMPT_MAX
from tests.fixtures.requests import a_request

FORMATS = ("png", "webp", "jpeg")
PROMPTS = ("a cat", "灯台 💡", "naïve café", "🦊" * PROMPT_MAX)
HARD = "".join(random.Random(1).choices([chr(n) for n in range(0x4E00, 0x9FFF)], k=PROMPT_MAX))
"""Nothing makes it much shorter."""


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 40)) -> Image.Image:
    chance = random.Random(3)
    made = Image.new(mode, size)
    made.putdata([tuple(chance.randrange(256) for _ in mode) for _ in range(size[0] * size[1])])
    return made


def about(**changes: object) -> metadata.About:
    return metadata.About(request=a_request(**changes), index=0, seed=7)


def made(mode: str = "RGB", size: tuple[int, int] = (48, 40), **changes: Any) -> bytes:
    return metadata.embed(encoded(picture(mode, size), a_request(**changes))[0], about(**changes))


def read(file: bytes) -> tuple[str, Mapping[int, Any]]:
    """The infotext as A1111 reads it, through EXIF's UserComment, and all of EXIF."""
    with Image.open(io.BytesIO(file)) as opened:
        opened.load()
        if opened.format == "PNG":
            return str(opened.info["parameters"]), {}
        exif = opened.getexif().get_ifd(EXIF_IFD)
    comment = exif[USER_COMMENT]
    assert comment[:8] == b"UNICODE\0"
    return comment[8:].decode("utf-16-be"), exif


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_each_format_carries_the_infotext_and_our_request(format_: str, prompt: str) -> None:
    file = made(format=format_, prompt=prompt, negative_prompt=prompt)
    wanted = about(format=format_, prompt=prompt, negative_prompt=prompt)
    assert picture_files.format_of(file) == format_
    text, exif = read(file)
    assert text == metadata.infotext(wanted)
    if format_ != "png":
        own = own_request(exif[MAKER_NOTE])
        assert own is not None
        assert msgspec.json.decode(own, type=metadata.About) == wanted


def test_a_segment_of_a_jpeg_holds_the_longest_prompts() -> None:
    texts: dict[str, Any] = {"prompt": HARD, "negative_prompt": HARD[::-1], "template": HARD}
    file = made(format="jpeg", **texts)
    text, exif = read(file)
    assert text == metadata.infotext(about(format="jpeg", **texts))
    own = own_request(exif[MAKER_NOTE])
    assert own is not None
    assert msgspec.json.decode(own, type=metadata.About).request.prompt == HARD


def test_what_no_segment_holds_is_left_out_and_the_infotext_stays() -> None:
    noise = random.Random(2).randbytes(70_000)
    file = picture_files.carrying(encoded(picture(), a_request(format="jpeg"))[0], "a", noise)
    text, exif = read(file)
    assert text == "a"
    assert MAKER_NOTE not in exif


def test_what_others_wrote_is_no_request_of_ours() -> None:
    for note in (b"", b"Canon", b"darkroom\0", b"darkroom\0\x78\x9cxx"):
        assert own_request(note) is None


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (48, 40), (7, 300)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_sizes_are_read_of_each(format_: str, size: tuple[int, int], mode: str) -> None:
    for quality in (80, 100):
        plain, _ = encoded(picture(mode, size), a_request(format=format_, quality=quality))
        carrying = metadata.embed(plain, about())
        for file in (plain, carrying):
            assert picture_files.size_of(file) == size
        with Image.open(io.BytesIO(plain)) as one, Image.open(io.BytesIO(carrying)) as other:
            assert one.convert("RGBA").tobytes() == other.convert("RGBA").tobytes()


@pytest.mark.parametrize("format_", ["png", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_png_and_a_webp_of_100_lose_nothing(format_: str, mode: str) -> None:
    file, pixels = encoded(picture(mode), a_request(format=format_, quality=100))
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.mode == mode
        assert opened.tobytes() == picture(mode).tobytes()
    lossy = encoded(picture(mode), a_request(format="webp", quality=50))
    assert lossy[1] == pixels, "what was drawn is the same, whatever a file makes of it"


def test_quality_counts() -> None:
    sizes = [
        [len(encoded(picture(), a_request(format=f, quality=q))[0]) for q in (10, 60, 95)]
        for f in ("jpeg", "webp")
    ]
    assert all(found == sorted(set(found)) for found in sizes)


def test_what_is_transparent_becomes_no_jpeg() -> None:
    file, _ = encoded(picture("RGBA"), a_request(format="jpeg"))
    assert picture_files.format_of(file) == "png"
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.tobytes() == picture("RGBA").tobytes()


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPXXXX"]
)
def test_what_is_none_of_ours_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        picture_files.size_of(data)
