"""Pictures that people hand in: fetched and decoded in turn, kept as plain PNG."""

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
import discord

from bot.pictures.decoding import MIB, PictureDecoder, check_size, check_weight
from bot.pictures.normalising import PartOfFile
from bot.pictures.turns import OF_ONE_PERSON
from generation.refusal import Refused
from generation.rules import Limits

FETCH_SECONDS: Final = 60.0
FETCHING_ERRORS: Final = (discord.HTTPException, aiohttp.ClientError, OSError)
"""What reading an attachment may raise; OSError is a timeout, too."""


async def read_attachment(
    attachment: discord.Attachment,
    person: int,
    decoder: PictureDecoder,
    limits: Limits,
    most: int = OF_ONE_PERSON,
    parts: Sequence[PartOfFile] = ("picture",),
) -> list[bytes]:
    """Fetch and decode what a person attached; returns a PNG for each part, b"" for none.

    Raises Refused, also where `most` pictures of theirs wait already.
    """
    name = attachment.filename
    check_described(attachment, limits)
    async with decoder.turn(person, most):
        data = await fetched(attachment, limits)
        return [await decoder.upload(data, name, part) for part in parts]


def check_described(attachment: discord.Attachment, limits: Limits) -> None:
    """Refuse what is bad by what Discord says of it, so that nothing huge is ever fetched."""
    check_weight(attachment.filename, attachment.size, limits)
    if attachment.width and attachment.height:
        check_size(attachment.filename, attachment.width, attachment.height, limits)


async def fetched(attachment: discord.Attachment, limits: Limits) -> bytes:
    """The file of a picture as it is; to be called in its owner's turn. Raises Refused."""
    check_weight(attachment.filename, attachment.size, limits)
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            data = await attachment.read()
    except FETCHING_ERRORS as error:
        raise Refused("picture_gone") from error
    check_weight(attachment.filename, len(data), limits)
    return data


async def read_file(
    path: Path, decoder: PictureDecoder, limits: Limits, parts: Sequence[PartOfFile] = ("picture",)
) -> list[bytes]:
    """Read and decode a file of this machine, as `read_attachment` does. Raises Refused."""
    data = await asyncio.to_thread(read_plain, path, limits)
    return [await decoder.upload(data, path.name, part) for part in parts]


def parts_of(option: str, *, masked: bool) -> dict[str, PartOfFile]:
    """What is wanted of the file that was given for an option, by the option that it then is; where
    nothing else says what is masked, what is erased of the picture to start from is.
    """
    if option == "mask":
        return {option: "mask"}
    if option == "init_picture" and not masked:
        return {option: "picture", "mask": "erased"}
    return {option: "picture"}


def read_plain(path: Path, limits: Limits) -> bytes:
    """A file of this machine as it is. Blocks. Raises Refused."""
    try:
        return _read(path, limits)
    except OSError as error:
        raise Refused("file_unreadable", file=str(path), why=error.strerror or "") from None


def _read(path: Path, limits: Limits) -> bytes:
    """Raises OSError, Refused."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # a device or a pipe may have no end
        raise OSError(0, "it is no file")
    check_weight(path.name, status.st_size, limits)
    with path.open("rb") as file:
        return file.read(limits.upload_mib * MIB + 1)
