"""What a file says of its picture, as people read it."""

from collections.abc import Iterator
from typing import Final

import discord

from bot.locales import Texts
from bot.ui.formatting import COLOUR, COLOUR_FAILED, fitted, one_line, quoted
from generation.info.found import Info, Note
from generation.info.resolving import NotHere, Resolved
from generation.request_options import exact
from generation.request_parts import LoraUse

PROMPT_MAX: Final = 1000
FIELD_MAX: Final = 300
SHOWN_MAX: Final = 8
"""NotHere files that are named."""
SHOWN_ELSEWHERE: Final = frozenset(("width", "height", "sampler", "schedule"))
FIELDS: Final = ("steps", "guidance", "seed")


def embed(info: Info, resolved: Resolved, texts: Texts) -> discord.Embed:
    """Prompt and parameters, and what of it is missing here."""
    missing = (*resolved.missing, *resolved.missing_beside)
    colour = COLOUR_FAILED if resolved.missing else COLOUR
    shown = discord.Embed(description=quoted(info.prompt, PROMPT_MAX), colour=colour)
    shown.set_author(name=texts("info_program", program=info.program))
    if info.negative_prompt:
        negative = quoted(info.negative_prompt, FIELD_MAX)
        shown.add_field(name=texts("field_negative"), value=negative, inline=False)
    if missing:
        # before the parameters: an embed that is too long loses its end
        lines = [_missing(one, texts) for one in missing[:SHOWN_MAX]]
        lines += ["…"] if len(missing) > SHOWN_MAX else []
        shown.add_field(name=texts("info_missing_here"), value="\n".join(lines), inline=False)
    for name, value in _fields(info, texts):
        shown.add_field(name=name, value=quoted(value, FIELD_MAX))
    return fitted(shown)


def notes(info: Info, texts: Texts) -> list[str]:
    """What of it can't be kept, a line each in small print."""
    return [f"-# {_sentence(note, texts)}" for note in info.notes]


def _sentence(note: Note, texts: Texts) -> str:
    params = {
        name: quoted(one_line(value), FIELD_MAX) if isinstance(value, str) else value
        for name, value in note.params.items()
    }
    return texts(note.code, **params)


def _fields(info: Info, texts: Texts) -> Iterator[tuple[str, str]]:
    """Name and text of each field; numbers as they are written there, to be copied."""
    given = info.given
    for option, file in info.files.items():
        yield _called(f"field_{option}", option, texts), file.name or file.hash
    if "width" in given and "height" in given:
        yield texts("field_size"), f"{given['width']} × {given['height']}"
    sampling = [str(given[name]) for name in ("sampler", "schedule") if name in given]
    if sampling:
        yield texts("field_sampler"), ", ".join(sampling)
    for name in FIELDS:
        if name in given:
            yield texts(f"field_{name}"), _written(given[name])
    if info.loras:
        yield texts("field_lora"), ", ".join(_lora(use, texts) for use in info.loras)
    for name, value in given.items():
        if name not in SHOWN_ELSEWHERE and name not in FIELDS:
            yield _called(f"option_{name}", name, texts), _written(value)


def _called(key: str, name: str, texts: Texts) -> str:
    """What people call it where there is a word for it, else as an option is called."""
    return texts(key) if texts.has(key) else name


def _lora(use: LoraUse, texts: Texts) -> str:
    if use.te_weight is None:
        return f"{use.name} × {exact(use.weight)}"
    weights = {"weight": exact(use.weight), "te": exact(use.te_weight)}
    return texts("lora_two_weights", name=use.name, **weights)


def _missing(missing: NotHere, texts: Texts) -> str:
    key = "info_missing_nearest" if missing.nearest else "info_missing_plain"
    return texts(
        key,
        name=quoted(one_line(missing.name), FIELD_MAX),
        kind=texts(f"info_kind_{missing.kind}"),
        nearest=quoted(one_line(", ".join(missing.nearest)), FIELD_MAX),
    )


def _written(value: str | int | float) -> str:
    return exact(value) if isinstance(value, float) else str(value)
