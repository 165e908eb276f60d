"""What becomes of the pictures that people upload."""

import io

import pytest
from PIL import Image

from bot.pictures.uploads import check_picture
from generation.completion import Limits


def kept(picture: Image.Image, **options: object) -> Image.Image:
    """The picture as it is kept, after an upload as PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return Image.open(io.BytesIO(check_picture(file.getvalue(), "a.png", Limits())))


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), {}),
        (Image.new("LA", (8, 8), (0, 0)), {}),
        (Image.new("P", (8, 8), 0), {"transparency": 0}),
    ],
    ids=["RGBA", "LA", "P"],
)
def test_what_is_transparent_becomes_white(
    picture: Image.Image, options: dict[str, object]
) -> None:
    found = kept(picture, **options)
    assert (found.mode, found.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_half_transparent_is_mixed_with_white() -> None:
    assert kept(Image.new("RGBA", (8, 8), (255, 0, 0, 51))).getpixel((0, 0)) == (255, 204, 204)


def test_an_opaque_picture_keeps_its_colours() -> None:
    assert kept(Image.new("RGB", (8, 8), (1, 2, 3))).getpixel((0, 0)) == (1, 2, 3)
