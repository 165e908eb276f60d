"""Flags in a prompt, as Midjourney has them: `a lighthouse --ar 3:2 --seed 5 --no fog`.

Every option of a request is a flag of its name; Midjourney's short names mean the same.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from rapidfuzz import process

from generation.fields import options
from generation.refusal import Refused

SHORT: Final[Mapping[str, str]] = {
    "ar": "aspect",
    "no": "negative_prompt",
    "cfg": "guidance",
    "n": "count",
    "m": "model",
    "s": "steps",
}
OTHERS: Final = ("aspect", "preset", "private")
"""Options of `/imagine` that are no fields of a request."""
FLAG: Final = re.compile(r"(?:^|(?<=\s))(?:--|—)(?P<name>[A-Za-z][A-Za-z0-9_-]*)(?=\s|=|$)=?")
"""Two dashes, or the one long dash that phones make of them, at the beginning of a word."""

Value = str | int | float | bool


class Parsed(msgspec.Struct, frozen=True):
    """The prompt without its flags, and what these give, by option name."""

    prompt: str
    given: dict[str, Value]


def parse(text: str) -> Parsed:
    """Take the flags out of a prompt. Raises Refused, naming the flag that is wrong."""
    found = list(FLAG.finditer(text))
    if not found:
        return Parsed(text, {})
    given: dict[str, Value] = {}
    for match, following in zip(found, [*found[1:], None], strict=True):
        end = following.start() if following else len(text)
        name = _option(match["name"])
        value = _value(name, match["name"], _unquoted(text[match.end() : end].strip()))
        if name == "negative_prompt" and name in given:
            value = f"{given[name]}, {value}"
        elif name in given and given[name] != value:
            raise Refused("flag_twice", flag=match["name"])
        given[name] = value
    return Parsed(text[: found[0].start()].strip(), given)


def merge(parsed: Parsed, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a person chose and those that their prompt's flags give, together.

    Raises Refused where the two disagree.
    """
    for name, value in parsed.given.items():
        if name in given and given[name] != value:
            raise Refused("flag_twice", flag=name)
    return {**given, **parsed.given, "prompt": parsed.prompt}


def _option(flag: str) -> str:
    """The option that a flag means. Raises Refused with the nearest."""
    name = flag.casefold().replace("-", "_")
    name = SHORT.get(name, name)
    known = [
        option.name
        for option in options().values()
        if option.name != "prompt" and not option.picture
    ]
    if name in (*known, *OTHERS):
        return name
    nearest = process.extractOne(name, (*known, *OTHERS, *SHORT))
    raise Refused("flag_unknown", flag=flag[:50], nearest=nearest[0])


def _value(name: str, flag: str, text: str) -> Value:
    if name == "private":
        if text.casefold() in ("", "true", "yes", "on"):
            return True
        if text.casefold() in ("false", "no", "off"):
            return False
        raise Refused("flag_yes_or_no", flag=flag)
    if not text:
        raise Refused("flag_empty", flag=flag)
    if name in OTHERS:
        return text
    return options()[name].parse(text)


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
