"""What a picture's file says of how it was made."""

import asyncio

from bot.pictures import file_texts
from bot.pictures.decoding import PictureDecoder
from bot.pictures.hidden_texts import may_hide
from generation.info import json_text, reading
from generation.info.found import KEYWORDS, Info
from generation.picture_files import size_of
from generation.refusal import Refused


async def info_of(data: bytes, name: str, decoder: PictureDecoder) -> Info:
    """Read the file `name`; where its texts say nothing, what may be hidden in its pixels.

    Raises Refused, naming it.
    """
    try:
        return await asyncio.to_thread(_read, data, name)
    except Refused as refused:
        if refused.code != "data_none" or not may_hide(data):
            raise
    hidden = await decoder.hidden(data, name)
    return await asyncio.to_thread(_hidden, hidden, data, name)


def _read(data: bytes, name: str) -> Info:
    return reading.read(file_texts.texts(data, name), name, _size(data))


def _hidden(text: bytes, data: bytes, name: str) -> Info:
    try:
        said = text.decode()
    except UnicodeDecodeError:
        raise Refused("data_damaged", file=name) from None
    table = json_text.table(said)
    # NovelAI hides all texts of the file, others the infotext alone
    texts = {"parameters": said}
    if table is not None and {"Comment", "Description"} & table.keys():
        texts = {key: value for key, value in table.items() if isinstance(value, str)}
    return reading.read({k: v for k, v in texts.items() if k in KEYWORDS}, name, _size(data))


def _size(data: bytes) -> tuple[int, int] | None:
    try:
        return size_of(data)
    except ValueError:
        return None
