"""What people hand in: attachments and files of this machine, fetched within bounds."""

import asyncio
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
from PIL import Image

from bot.pictures import uploads
from bot.pictures.decoding import PictureDecoder
from bot.pictures.turns import OF_ONE_PERSON
from bot.pictures.uploads import read_attachment, read_file
from generation.refusal import Refused
from generation.rules import Limits
from tests.fixtures.pictures import drawn, encoded

LIMITS = Limits(upload_mib=1, upload_megapixels=2)
PNG = encoded(drawn(), "PNG")
ADA = 1


class Attachment:
    """As discord.py has it, with a count of how often it was fetched."""

    def __init__(self, content: bytes, *, seconds: float = 0, **about: Any) -> None:
        self.filename = about.get("filename", "cat.png")
        self.size = about.get("size", len(content))
        self.width, self.height = about.get("width"), about.get("height")
        self.fetched = 0
        self._content, self._seconds = content, seconds

    async def read(self) -> bytes:
        self.fetched += 1
        await asyncio.sleep(self._seconds)
        return self._content


async def read(attachment: Any, decoder: PictureDecoder) -> bytes:
    (made,) = await read_attachment(attachment, ADA, decoder, LIMITS)
    return made


async def test_an_attachment_becomes_a_png() -> None:
    async with PictureDecoder(LIMITS) as decoder:
        made = await read(Attachment(encoded(drawn(), "WEBP")), decoder)
    with Image.open(io.BytesIO(made)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 48))


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"size": 2**21}, "picture_too_heavy"),
        ({"width": 2000, "height": 1500}, "picture_too_large"),
    ],
)
async def test_what_discord_says_to_be_too_large_is_not_fetched(
    about: dict[str, int], code: str
) -> None:
    attachment = Attachment(PNG, **about)
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused, match=code):
            await read(attachment, decoder)
    assert attachment.fetched == 0


async def test_more_than_discord_said_is_refused() -> None:
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused, match="picture_too_heavy"):
            await read(Attachment(PNG + bytes(2**20), size=100), decoder)


async def test_one_that_is_gone_or_never_comes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Attachment):
        async def read(self) -> bytes:
            raise discord.NotFound(SimpleNamespace(status=404, reason=""), "")  # type: ignore[arg-type]

    monkeypatch.setattr(uploads, "FETCH_SECONDS", 0.01)
    async with PictureDecoder(LIMITS) as decoder:
        for attachment in (Gone(PNG), Attachment(PNG, seconds=600)):
            with pytest.raises(Refused, match="picture_gone"):
                await read(attachment, decoder)


async def test_of_one_persons_many_one_is_fetched_at_a_time_and_few_may_wait() -> None:
    attachments = [Attachment(PNG, seconds=0.5) for _ in range(OF_ONE_PERSON + 1)]
    async with PictureDecoder(LIMITS) as decoder:
        waiting = [asyncio.create_task(read(one, decoder)) for one in attachments]
        with pytest.raises(Refused, match="uploads_too_many"):
            await waiting[-1]
        assert [one.fetched for one in attachments] == [1] + [0] * OF_ONE_PERSON
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# files of this machine


async def test_a_file_becomes_a_png(tmp_path: Path) -> None:
    path = tmp_path / "cat.bmp"
    path.write_bytes(encoded(drawn(), "BMP"))
    async with PictureDecoder(LIMITS) as decoder:
        (made,) = await read_file(path, decoder, LIMITS)
    assert made.startswith(b"\x89PNG")


async def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    places = [tmp_path / "missing.png", tmp_path]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "link.png").symlink_to("/dev/zero")
        places += [tmp_path / "pipe.png", tmp_path / "link.png"]
    async with PictureDecoder(LIMITS) as decoder:
        for path in places:
            with pytest.raises(Refused, match="file_unreadable"):
                await asyncio.wait_for(read_file(path, decoder, LIMITS), 30)


async def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.touch()
    os.truncate(path, 2**33)
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused, match="picture_too_heavy"):
            await read_file(path, decoder, LIMITS)


@pytest.mark.parametrize("error", [aiohttp.ClientPayloadError(), ConnectionResetError()])
async def test_a_line_that_breaks_while_it_is_fetched_is_said(error: Exception) -> None:
    class Broken(Attachment):
        async def read(self) -> bytes:
            raise error

    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused) as refused:
            await read(Broken(PNG), decoder)
    assert refused.value.code == "picture_gone"
