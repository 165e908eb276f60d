"""How texts and numbers are written for people."""

import io
from typing import Final

import discord

from bot.locales import Texts

TEXT_MAX: Final = 3900
"""Characters of a list in an embed."""
COLOUR: Final = discord.Colour(0x7A6FF0)
COLOUR_FAILED: Final = discord.Colour(0xC0504D)


def duration(seconds: float, texts: Texts) -> str:
    """A time as people say it: never less than a second."""
    if seconds < 90:
        return texts("seconds", count=max(1, round(seconds)))
    return texts("minutes", count=round(seconds / 60))


def text_file(text: str, name: str) -> discord.File:
    """A text that is too long for a message."""
    return discord.File(io.BytesIO(text.encode()), name)


def quoted(text: str, limit: int) -> str:
    """People's text without markup or mentions, and not too long for an embed."""
    plain = discord.utils.escape_markdown(text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def cut_lines(text: str, limit: int = TEXT_MAX) -> str:
    """Whole lines, as many as fit."""
    if len(text) <= limit:
        return text
    return text[:limit].rsplit("\n", 1)[0] + "\n…"
