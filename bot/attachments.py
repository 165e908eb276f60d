"""Pictures as Discord takes them: the PNG where it is small enough, else a lighter copy."""

import asyncio
import io
from collections.abc import Sequence
from typing import Final

import discord
from PIL import Image

LEVELS: Final[Sequence[tuple[int, float]]] = ((92, 1.0), (80, 1.0), (80, 0.7), (70, 0.5), (60, 0.3))
"""WebP quality and scale, each lighter than the one before."""


def files(pictures: Sequence[tuple[str, bytes]], *, spoiler: bool) -> list[discord.File]:
    """New attachments of (name, content)."""
    return [
        discord.File(io.BytesIO(content), filename=name, spoiler=spoiler)
        for name, content in pictures
    ]


async def lighter(pictures: Sequence[tuple[str, bytes]], level: int) -> list[tuple[str, bytes]]:
    """The pictures at a level of LEVELS, as WebP."""
    return await asyncio.to_thread(lambda: [_lighter(*picture, level) for picture in pictures])


def _lighter(name: str, content: bytes, level: int) -> tuple[str, bytes]:
    quality, scale = LEVELS[level]
    with Image.open(io.BytesIO(content)) as picture:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    resized.save(file, "WEBP", quality=quality)
    return name.rsplit(".", 1)[0] + ".webp", file.getvalue()
