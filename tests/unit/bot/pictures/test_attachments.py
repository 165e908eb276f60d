"""Pictures within what Discord takes."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from bot.pictures.attachments import Attachment, JobAttachments, ShownPictures
from bot.pictures.decoding import PictureDecoder
from generation.completion import Limits


def noise(side: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("limit", [60_000, 20_000])
async def test_what_is_over_the_limit_becomes_lighter_and_the_rest_stays(limit: int) -> None:
    large, small = noise(256), noise(8)
    shown = ShownPictures(
        (Attachment("large.png", large), Attachment("small.png", small, spoiler=True)), missing=1
    )
    async with PictureDecoder(Limits()) as decoder:
        pictures = JobAttachments(None, None, decoder, None)  # type: ignore[arg-type]
        fitted = await pictures.within(shown, limit)
        unchanged = await pictures.within(shown, 10**7)
    assert [len(one.content) <= limit for one in fitted.attachments] == [True, True]
    assert [Path(one.name).suffix for one in fitted.attachments] == [".webp", ".png"]
    assert fitted.attachments[1] == shown.attachments[1]
    assert (fitted.lightened, fitted.missing) == (True, 1)
    assert unchanged == shown
