"""What a picture's file says of how it was made."""

import asyncio

from bot.pictures import file_texts
from generation.info import reading
from generation.info.found import Info
from generation.picture_files import size_of


async def info_of(data: bytes, name: str) -> Info:
    """Read the file `name`, in a thread. Raises Refused, naming it."""
    return await asyncio.to_thread(_read, data, name)


def _read(data: bytes, name: str) -> Info:
    try:
        size = size_of(data)
    except ValueError:
        size = None
    return reading.read(file_texts.texts(data, name), name, size)
