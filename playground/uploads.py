"""Files on their way in: named, measured, checked against the limit, stored."""

from __future__ import annotations

import io
import mimetypes
import re
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from .errors import TooLarge
from .snowflake import Snowflake
from .world import Attachment, World

MAX_FILES = 10
UNSAFE = re.compile(r"[^\w.\-()\[\]]+")
"""Discord keeps word characters, dots, dashes and brackets of a file's name."""


@dataclass(frozen=True)
class Upload:
    """One part of a multipart request: `files[index]`."""

    index: int
    filename: str
    content: bytes
    content_type: str | None = None


def check_sizes(uploads: list[Upload], limit: int) -> None:
    """Raise 413 / 40005 when any one file is over `limit` bytes."""
    if any(len(upload.content) > limit for upload in uploads):
        raise TooLarge


def keep(
    world: World,
    upload: Upload,
    channel_id: Snowflake,
    *,
    filename: str | None = None,
    title: str | None = None,
    description: str | None = None,
    ephemeral: bool = False,
    spoiler: bool = False,
) -> Attachment:
    """Write the file to the store and describe it as an attachment."""
    name = clean_name(filename or upload.filename)
    if spoiler and not name.startswith("SPOILER_"):
        name = f"SPOILER_{name}"
    width, height = picture_size(upload.content)
    attachment = Attachment(
        id=world.snowflakes.next(),
        channel_id=channel_id,
        filename=name,
        size=len(upload.content),
        content_type=content_type(name, upload.content_type),
        width=width,
        height=height,
        description=description,
        title=title,
        ephemeral=ephemeral,
        spoiler=name.startswith("SPOILER_"),
    )
    world.store.write_file(attachment.id, upload.content)
    return attachment


def clean_name(name: str) -> str:
    cleaned = UNSAFE.sub("_", name).strip("._") if name.strip(".") else ""
    return cleaned[-240:] or "unknown"


def content_type(filename: str, declared: str | None) -> str | None:
    """By the file's name, as Discord does; what the client declared is only the second choice."""
    guessed, _ = mimetypes.guess_type(filename)
    if guessed is None and declared not in (None, "application/octet-stream"):
        guessed = declared
    if guessed is not None and guessed.startswith("text/") and "charset" not in guessed:
        guessed += "; charset=utf-8"
    return guessed


def picture_size(content: bytes) -> tuple[int, int] | tuple[None, None]:
    """Width and height in pixels, read from the header; None for what is no picture."""
    with warnings.catch_warnings():
        # only the header is read: a huge picture costs nothing here
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content)) as image:
                return image.size
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
            return None, None
