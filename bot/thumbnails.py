"""Small pictures: what a history or a catalogue shows of a large one."""

import asyncio
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from bot.attachments import Print

SIDE: Final = 256
"""Pixels of the longer side."""


async def small(prints: Sequence[Print], name: str) -> Print:
    """The pictures of a job as one small picture: up to four of them, two by two."""
    content = await asyncio.to_thread(_sheet, [shown.content for shown in prints[:4]])
    return Print(name, content, any(shown.spoiler for shown in prints))


def _sheet(contents: Sequence[bytes]) -> bytes:
    across = 1 if len(contents) == 1 else 2
    down = -(-len(contents) // across)
    side = SIDE // across
    sheet = Image.new("RGB", (side * across, side * down))
    for place, content in enumerate(contents):
        with Image.open(io.BytesIO(content)) as picture:
            fitted = picture.convert("RGB")
            fitted.thumbnail((side, side), Image.Resampling.LANCZOS)
        left = place % across * side + (side - fitted.width) // 2
        top = place // across * side + (side - fitted.height) // 2
        sheet.paste(fitted, (left, top))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=80)
    return file.getvalue()
