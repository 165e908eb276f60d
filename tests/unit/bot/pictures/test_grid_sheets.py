"""The picture of a grid."""

import io

import pytest
from PIL import Image

from bot.pictures.decoding import PictureDecoder
from bot.pictures.grid_sheets import grid_sheet
from generation.grids import GridLayout
from generation.refusal import Refused
from generation.rules import Limits


def png(colour: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def a_layout(**changes: object) -> GridLayout:
    values = {
        "columns": ("10", "20"),
        "rows": ("Euler a", "Heun"),
        "sheets": ("",),
        "places": (0, 1, 2, 3),
        "side": 2048,
        "quality": 95,
    }
    return GridLayout(**{**values, **changes})  # type: ignore[arg-type]


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


def test_every_picture_is_in_its_place() -> None:
    sheet = grid_sheet([png("red"), png("lime"), png("blue"), png("black")], a_layout())
    picture = Image.open(io.BytesIO(sheet)).convert("RGB")
    wide, high = picture.size
    # labels stand to the left and on top, so the pictures are in the lower right
    places = [(wide - 100, high - 100), (wide - 34, high - 100), (wide - 100, high - 34)]
    wanted = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    for place, colour in zip(places, wanted, strict=True):
        found = picture.getpixel(place)
        assert isinstance(found, tuple)
        assert near(found[:3], colour), place
    assert picture.getpixel((wide - 34, high - 34))[0] < 12  # type: ignore[index]


def test_what_is_not_there_is_marked() -> None:
    layout = a_layout(places=(3,), marks={0: "failed"})
    picture = Image.open(io.BytesIO(grid_sheet([png("blue")], layout))).convert("L")
    wide, high = picture.size
    empty = picture.crop((wide - 132, high - 132, wide - 70, high - 70))
    dark, light = empty.getextrema()
    assert isinstance(dark, int)
    assert dark < 120, "the mark is written"
    assert light != dark


@pytest.mark.parametrize("sheets", [("",), ("seed: 1", "seed: 2", "seed: 3")])
def test_it_stays_within_its_bounds(sheets: tuple[str, ...]) -> None:
    columns = tuple(str(number) for number in range(5))
    places = tuple(range(5 * 2 * len(sheets)))
    layout = a_layout(columns=columns, sheets=sheets, places=places, side=1024)
    sheet = grid_sheet([png("red", (512, 768))] * len(places), layout)
    assert max(Image.open(io.BytesIO(sheet)).size) <= 1100
    assert max(Image.open(io.BytesIO(sheet)).size) > 512


def test_pictures_of_other_sizes_and_transparent_ones_are_on_paper() -> None:
    contents = [png("red", (64, 32)), png("#0000", (64, 64), "RGBA"), png("blue"), png("blue")]
    picture = Image.open(io.BytesIO(grid_sheet(contents, a_layout()))).convert("RGB")
    wide, high = picture.size
    found = picture.getpixel((wide - 34, high - 100))
    assert isinstance(found, tuple)
    assert near(found[:3], (255, 255, 255))


async def test_it_is_drawn_in_a_process_of_its_own() -> None:
    async with PictureDecoder(Limits()) as decoder:
        contents = [png(colour) for colour in ("red", "lime", "blue", "black")]
        made = await decoder.grid(contents, a_layout(), "grid.webp")
        assert made == grid_sheet(contents, a_layout())
        with pytest.raises(Refused, match="picture_unreadable"):
            await decoder.grid([b"none"] * 4, a_layout(), "grid.webp")
