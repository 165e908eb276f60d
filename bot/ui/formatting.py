"""How texts and numbers are written for people."""

import io
import re
from collections.abc import Mapping
from typing import Final

import discord

from bot.locales import OPTIONS, Texts

TEXT_MAX: Final = 3900
"""Characters of a list in an embed."""
CONTENT_MAX: Final = 2000
"""Characters of a message; Discord's bound."""
PARAMETER_MAX: Final = 200
"""Characters of a name or text that a sentence repeats."""
WITH_MARKUP: Final = (*OPTIONS, "when", "channels", "roles", "problem")
"""Parameters of sentences that the bot writes itself: times, mentions, names of options, another
sentence.
"""
TITLE_MAX: Final = 256
DESCRIPTION_MAX: Final = 4096
FIELDS_MAX: Final = 25
FIELD_NAME_MAX: Final = 256
FIELD_VALUE_MAX: Final = 1024
FOOTER_MAX: Final = 2048
EMBED_MAX: Final = 6000
"""Discord's bounds on an embed, the last for all its texts together."""
NOTHING: Final = "—"
"""What stands in a field that would be empty, which Discord refuses."""
MARKUP: Final = re.compile(
    r"""
    [\\*_~|`<]            # emphasis, spoilers, code, mentions
    | \](?=\()           # a link under other words
    | (?m:^)(?:[ \t]*+(?:[>#+-]|[0-9]++[.)](?=\s|\Z)))  # quotations, headings, lists
    """,
    re.VERBOSE,
)
"""What Discord would read as more than text; searching takes time with the text's length."""
COLOUR: Final = discord.Colour(0x7A6FF0)
COLOUR_FAILED: Final = discord.Colour(0xC0504D)


def duration(seconds: float, texts: Texts) -> str:
    """A time as people say it: never less than a second."""
    if seconds < 90:
        return texts("seconds", count=max(1, round(seconds)))
    return texts("minutes", count=round(seconds / 60))


def text_file(text: str, name: str) -> discord.File:
    """A text that is too long for a message."""
    return discord.File(io.BytesIO(text.encode(errors="replace")), name)


def quoted(text: str, limit: int) -> str:
    """People's text without markup or mentions, at most `limit` characters of it as written.

    Cut first: what nobody will see costs nothing.
    """
    shown = escaped(text[:limit])
    if len(text) <= limit and len(shown) <= limit:
        return shown
    shown = shown[: limit - 1]
    half_escaped = (len(shown) - len(shown.rstrip("\\"))) % 2
    return shown[: len(shown) - half_escaped] + "…"


def escaped(text: str) -> str:
    """Text that Discord shows as it is."""
    return MARKUP.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def sentence(texts: Texts, key: str, params: Mapping[str, object]) -> str:
    """A sentence that fits in a message, whatever it repeats of what people wrote."""
    shown = {
        name: quoted(value, PARAMETER_MAX)
        if isinstance(value, str) and name not in WITH_MARKUP
        else value
        for name, value in params.items()
    }
    return cut(texts(key, **shown))


def cut(text: str, limit: int = CONTENT_MAX) -> str:
    """Text that is not too long, marked where some is left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fitted(embed: discord.Embed) -> discord.Embed:
    """The embed within all of Discord's bounds; what is too much is left out from its end."""
    embed.title = cut(embed.title, TITLE_MAX) if embed.title else None
    embed.description = cut(embed.description, DESCRIPTION_MAX) if embed.description else None
    if embed.footer.text:
        embed.set_footer(text=cut(embed.footer.text, FOOTER_MAX), icon_url=embed.footer.icon_url)
    if embed.author.name:
        embed.set_author(name=cut(embed.author.name, TITLE_MAX))
    fields = embed.fields[:FIELDS_MAX]
    embed.clear_fields()
    room = EMBED_MAX - len(embed)
    if room < 0:
        embed.description = cut(embed.description or "", len(embed.description or "") + room)
    for field in fields:
        name = cut((field.name or "").strip() or NOTHING, FIELD_NAME_MAX)
        value = cut((field.value or "").strip() or NOTHING, FIELD_VALUE_MAX)
        room -= len(name) + len(value)
        if room < 0:
            break
        embed.add_field(name=name, value=value, inline=field.inline)
    return embed


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def cut_lines(text: str, limit: int = TEXT_MAX) -> str:
    """Whole lines, as many as fit."""
    if len(text) <= limit:
        return text
    return text[:limit].rsplit("\n", 1)[0] + "\n…"
