"""Small pictures: what a history or a catalogue shows of a large one."""

import asyncio
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageOps

from bot.pictures.attachments import Attachment

SIDE: Final = 256
"""Pixels of the longer side."""


async def small(attachments: Sequence[Attachment], name: str) -> Attachment:
    """The pictures of a job as one small picture: up to four of them, two by two."""
    content = await asyncio.to_thread(_sheet, [shown.content for shown in attachments[:4]])
    return Attachment(name, content, any(shown.spoiler for shown in attachments))


def _sheet(contents: Sequence[bytes]) -> bytes:
    across = 1 if len(contents) == 1 else 2
    side = SIDE // across
    fitted = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            rgb = picture.convert("RGB")
            fitted.append(ImageOps.contain(rgb, (side, side), Image.Resampling.LANCZOS))
    wide, high = (max(one.size[axis] for one in fitted) for axis in (0, 1))
    sheet = Image.new("RGB", (wide * across, high * -(-len(fitted) // across)))
    for place, one in enumerate(fitted):
        sheet.paste(one, (place % across * wide, place // across * high))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=80)
    return file.getvalue()
