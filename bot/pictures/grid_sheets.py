"""The picture of a grid: its pictures in rows and columns, and beside them what sets them apart."""

import io
from collections.abc import Mapping, Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageOps

from generation.grids import GridLayout

GAP: Final = 4
"""Pixels between pictures."""
PAPER: Final = (255, 255, 255)
INK: Final = (20, 20, 20)
EMPTY: Final = (225, 225, 228)
LINES_MAX: Final = 3
"""Of a label."""
TEXT_SHARE: Final = 14
"""The text is as many times smaller than a picture's side."""
TEXT_MIN, TEXT_MAX = 11, 40
LEFT_SHARE: Final = 0.6
"""Of a picture's width, which the labels of rows take at most."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def grid_sheet(contents: Sequence[bytes], layout: GridLayout) -> bytes:
    """The grid as a WebP. Blocks. Raises OSError."""
    pictures = dict(zip(layout.places, contents, strict=True))
    wide, high = _cell(contents, layout)
    font = ImageFont.load_default(max(TEXT_MIN, min(TEXT_MAX, min(wide, high) // TEXT_SHARE * 2)))
    down = len(layout.sheets) > 1 and len(layout.columns) > len(layout.rows)
    left = _left(layout.rows, font, wide)
    top = _height(layout.columns, font, wide)
    heading = _height(layout.sheets, font, 10**6)
    width = left + len(layout.columns) * (wide + GAP)
    height = heading + top + len(layout.rows) * (high + GAP)
    count = len(layout.sheets)
    whole = (width, height * count) if down else (width * count, height)
    paper = Image.new("RGB", whole, PAPER)
    draw = ImageDraw.Draw(paper)
    size = len(layout.columns) * len(layout.rows)
    for sheet, title in enumerate(layout.sheets):
        x0, y0 = (0, sheet * height) if down else (sheet * width, 0)
        _write(draw, title, (x0 + left, y0, width - left, heading), font)
        for column, label in enumerate(layout.columns):
            box = (x0 + left + column * (wide + GAP), y0 + heading, wide, top)
            _write(draw, label, box, font)
        for row, label in enumerate(layout.rows):
            y = y0 + heading + top + row * (high + GAP)
            _write(draw, label, (x0, y, left, high), font)
            for column in range(len(layout.columns)):
                place = sheet * size + row * len(layout.columns) + column
                x = x0 + left + column * (wide + GAP)
                _place(paper, draw, place, (x, y, wide, high), pictures, layout.marks, font)
    file = io.BytesIO()
    paper.save(file, "WEBP", quality=layout.quality)
    return file.getvalue()


def _opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as picture:
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        seen = picture.convert("RGBA")
        on_paper = Image.new("RGBA", seen.size, (*PAPER, 255))
        return Image.alpha_composite(on_paper, seen).convert("RGB")


def _cell(contents: Sequence[bytes], layout: GridLayout) -> tuple[int, int]:
    """Width and height of what each picture is fitted into, so that the whole stays in bounds."""
    wide = high = 1
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            wide, high = max(wide, picture.width), max(high, picture.height)
    count = len(layout.sheets)
    down = count > 1 and len(layout.columns) > len(layout.rows)
    across = len(layout.columns) * (1 if down else count) + LEFT_SHARE * (1 if down else count)
    along = len(layout.rows) * (count if down else 1) + 0.4 * (count if down else 1)
    scale = min(1.0, layout.side / (across * (wide + GAP)), layout.side / (along * (high + GAP)))
    return max(16, int(wide * scale)), max(16, int(high * scale))


def _place(
    paper: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: int,
    box: tuple[int, int, int, int],
    pictures: Mapping[int, bytes],
    marks: Mapping[int, str],
    font: Font,
) -> None:
    x, y, wide, high = box
    if place in pictures:
        # one after the other: together they would fill the memory
        fitted = _opened(pictures[place])
        if fitted.width > wide or fitted.height > high:
            fitted = ImageOps.contain(fitted, (wide, high), Image.Resampling.LANCZOS)
        paper.paste(fitted, (x + (wide - fitted.width) // 2, y + (high - fitted.height) // 2))
        return
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=EMPTY)
    _write(draw, marks.get(place, ""), box, font)


def _write(
    draw: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], font: Font
) -> None:
    """In the middle of the box."""
    x, y, wide, high = box
    lines = _lines(text, font, wide)
    tall = _line_height(font)
    start = y + (high - tall * len(lines)) / 2
    for number, line in enumerate(lines):
        at = (x + (wide - font.getlength(line)) / 2, start + number * tall)
        draw.text(at, line, fill=INK, font=font)


def _lines(text: str, font: Font, wide: float) -> list[str]:
    """A text in lines that are no longer than that; what is too long ends in dots."""
    if not text:
        return []
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= wide - GAP or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > LINES_MAX:
        lines = [*lines[: LINES_MAX - 1], f"{lines[LINES_MAX - 1]} …"]
    return [_cut(line, font, wide - GAP) for line in lines]


def _cut(line: str, font: Font, wide: float) -> str:
    while len(line) > 1 and font.getlength(line) > wide:
        line = line.removesuffix("…")[:-1] + "…"
    return line


def _line_height(font: Font) -> float:
    _, top, _, bottom = font.getbbox("Ájg")
    return float(bottom - top) * 1.25


def _height(labels: Sequence[str], font: Font, wide: int) -> int:
    most = max((len(_lines(label, font, wide)) for label in labels), default=0)
    return round(most * _line_height(font)) + (GAP if most else 0)


def _left(labels: Sequence[str], font: Font, wide: int) -> int:
    longest = max((font.getlength(label) for label in labels), default=0.0)
    return round(min(longest + 2 * GAP, wide * LEFT_SHARE)) if longest else 0
