"""Small pictures of large and of very small ones."""

import io

import pytest
from PIL import Image

from bot.pictures.attachments import Attachment
from bot.pictures.thumbnails import SIDE, small


def an_attachment(width: int, height: int, colour: str) -> Attachment:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return Attachment("a.png", file.getvalue(), False)


async def opened(*attachments: Attachment) -> Image.Image:
    made = await small(attachments, "small.webp")
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
