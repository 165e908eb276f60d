"""Small pictures: what a history or a catalogue shows of a large one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from bot.pictures.attachments import Attachment
from bot.pictures.decoding import PictureDecoder
from generation.refusal import Refused

log = structlog.get_logger(__name__)

SIDE: Final = 256
"""Pixels of the longer side."""


async def small(
    attachments: Sequence[Attachment], name: str, decoder: PictureDecoder
) -> Attachment:
    """The pictures of a job as one small picture: up to four of them, two by two.

    Raises Refused when the file of one is broken.
    """
    content = await decoder.sheet([shown.content for shown in attachments[:4]], SIDE, name)
    return Attachment(name, content, any(shown.spoiler for shown in attachments))


async def of_model(path: Path, name: str, decoder: PictureDecoder) -> Attachment | None:
    """The picture that lies beside a model, small; None for one that can't be read."""
    try:
        content = await decoder.preview(path)
        return await small([Attachment(path.name, content)], name, decoder)
    except (OSError, Refused) as error:
        log.warning("a thumbnail can't be read", file=str(path), error=str(error))
        return None
