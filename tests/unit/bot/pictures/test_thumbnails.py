"""Small pictures of large and of very small ones."""

import io
from pathlib import Path

import pytest
from PIL import Image

from bot.pictures.attachments import Attachment
from bot.pictures.decoding import PictureDecoder
from bot.pictures.reductions import board
from bot.pictures.thumbnails import SIDE, of_model, small
from generation.refusal import Refused
from generation.rules import Limits
from tests.fixtures.pictures import drawn, encoded, with_scans


def an_attachment(width: int, height: int, colour: str) -> Attachment:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return Attachment("a.png", file.getvalue(), False)


async def opened(*attachments: Attachment) -> Image.Image:
    async with PictureDecoder(Limits()) as decoder:
        made = await small(attachments, "small.webp", decoder)
    return Image.open(io.BytesIO(made.content))


@pytest.mark.parametrize("width", [64, 640])
async def test_one_picture_fills_its_thumbnail(width: int) -> None:
    shown = await opened(an_attachment(width, width // 2, "white"))
    assert shown.size == (SIDE, SIDE // 2)
    assert shown.convert("L").histogram()[:240] == [0] * 240


async def test_three_pictures_stand_two_by_two() -> None:
    shown = await opened(*(an_attachment(64, 96, name) for name in ("white", "red", "blue")))
    assert shown.size == (2 * 85, SIDE)
    rgb = shown.convert("RGB")
    assert rgb.getpixel((20, 20))[0] > 200  # type: ignore[index]
    assert rgb.getpixel((150, 20))[2] < 90  # type: ignore[index]
    assert rgb.getpixel((20, 230))[2] > 150  # type: ignore[index]
    assert sum(rgb.getpixel((150, 230))) < 60  # type: ignore[arg-type]


async def test_one_spoiler_makes_the_whole_a_spoiler() -> None:
    shown = [an_attachment(8, 8, "red"), Attachment("b.png", encoded(drawn(), "PNG"), True)]
    async with PictureDecoder(Limits()) as decoder:
        assert (await small(shown, "small.webp", decoder)).spoiler
        assert not (await small(shown[:1], "small.webp", decoder)).spoiler


async def test_a_broken_file_of_ours_is_said() -> None:
    async with PictureDecoder(Limits()) as decoder:
        with pytest.raises(Refused, match="picture_unreadable"):
            await small([Attachment("a.png", b"half a pict")], "small.webp", decoder)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_what_lies_beside_a_model_becomes_a_thumbnail(tmp_path: Path, format_: str) -> None:
    path = tmp_path / "ink.preview.png"
    path.write_bytes(encoded(drawn(640, 480), format_))
    async with PictureDecoder(Limits()) as decoder:
        made = await of_model(path, "model-1.webp", decoder)
    assert made is not None
    with Image.open(io.BytesIO(made.content)) as picture:
        assert (made.name, picture.format, picture.size) == ("model-1.webp", "WEBP", (256, 192))


@pytest.mark.parametrize("content", [b"", b"<html>", with_scans(64, 64, 3000)])
async def test_what_cannot_be_read_beside_a_model_is_left_out(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "ink.preview.png"
    path.write_bytes(content)
    async with PictureDecoder(Limits()) as decoder:
        assert await of_model(path, "model-1.webp", decoder) is None
        assert await of_model(tmp_path / "gone.png", "model-1.webp", decoder) is None


@pytest.mark.parametrize(
    ("sizes", "across", "down"),
    [
        ([(64, 64), (64, 64)], 2, 1),
        ([(60, 90), (60, 90)], 2, 1),
        ([(90, 30), (90, 60)], 1, 2),
        ([(90, 30), (60, 60), (60, 60)], 2, 2),
        ([(64, 64)] * 4, 2, 2),
    ],
)
def test_several_pictures_stand_whole_on_a_square(
    sizes: list[tuple[int, int]], across: int, down: int
) -> None:
    """As many columns as leave them larger; each fills its place one way."""
    colours = ("red", "lime", "blue", "white")
    files = [
        an_attachment(*size, colour).content for size, colour in zip(sizes, colours, strict=False)
    ]
    shown = Image.open(io.BytesIO(board(files, 240))).convert("RGBA")
    assert shown.size == (240, 240)
    for place, (width, height) in enumerate(sizes):
        left, top = place % across * (240 // across), place // across * (240 // down)
        cell = shown.crop((left, top, left + 240 // across, top + 240 // down))
        opaque = cell.getchannel("A").point(lambda value: 255 * (value > 200)).getbbox()
        assert opaque is not None
        found = (opaque[2] - opaque[0], opaque[3] - opaque[1])
        assert abs(found[0] / found[1] - width / height) < 0.1
        assert found[0] == cell.width or found[1] == cell.height
        middle = cell.getpixel((cell.width // 2, cell.height // 2))
        expected = Image.new("RGB", (1, 1), colours[place]).getpixel((0, 0))
        assert all(abs(a - b) < 40 for a, b in zip(middle, expected, strict=False))  # type: ignore[arg-type]


def test_one_picture_is_as_it_is() -> None:
    shown = Image.open(io.BytesIO(board([an_attachment(640, 320, "red").content], 240)))
    assert shown.size == (240, 120)
