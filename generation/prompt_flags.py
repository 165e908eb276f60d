"""Flags in a prompt, as Midjourney has them: `a lighthouse --ar 3:2 --seed 5 --no fog`.

Every option of a request is a flag of its name; Midjourney's short names mean the same.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from rapidfuzz import process

from generation.refusal import Refused
from generation.request_options import options

SHORT: Final[Mapping[str, str]] = {
    "ar": "aspect",
    "no": "negative_prompt",
    "cfg": "guidance",
    "n": "count",
    "m": "model",
}
OTHERS: Final = ("aspect", "preset", "private")
"""Options of `/imagine` that are no fields of a request."""
FLAG: Final = re.compile(
    r"(?:^|(?<=\s))(?:--(?=[^\W\d_])|[—–](?=[A-Za-z]))(?P<name>[^\s=]+)=?"
    r"(?:\s*(?P<quoted>\"[^\"]*\"|'[^']*'|“[^”]*”)(?=\s|$))?"
)
"""Two dashes, or the one that phones make of them, at the beginning of a word, and a letter."""

Value = str | int | float | bool


class Parsed(msgspec.Struct, frozen=True):
    """The prompt without its flags, and what these give, by option name."""

    prompt: str
    given: dict[str, Value]


def parse(text: str) -> Parsed:
    """Take the flags out of a prompt; a value goes on to the next flag.

    Raises Refused, naming the flag that is wrong.
    """
    found = list(FLAG.finditer(text))
    if not found:
        return Parsed(text, {})
    given: dict[str, Value] = {}
    for match, following in zip(found, [*found[1:], None], strict=True):
        flag = match["name"][:50]
        name = _option(flag)
        rest = text[match.end() : following.start() if following else len(text)].strip()
        value = _value(name, flag, match["quoted"] or "", rest)
        if name == "negative_prompt" and name in given:
            value = f"{given[name]}, {value}"
        elif name in given and given[name] != value:
            raise Refused("flag_twice", flag=flag)
        given[name] = value
    prompt = text[: found[0].start()].strip()
    if not prompt:
        raise Refused("flag_before_prompt")
    return Parsed(prompt, given)


def merge(parsed: Parsed, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a person chose and those that their prompt's flags give, together.

    Raises Refused where the two disagree.
    """
    for name, value in parsed.given.items():
        if name in given and given[name] != value:
            raise Refused("flag_twice", flag=name)
    return {**given, **parsed.given, "prompt": parsed.prompt}


@functools.cache
def _known() -> tuple[str, ...]:
    """The options that a text can give; pictures are uploaded."""
    named = (option.name for option in options().values() if not option.picture)
    return (*(name for name in named if name != "prompt"), *OTHERS)


def _option(flag: str) -> str:
    """The option that a flag means. Raises Refused with the nearest."""
    name = flag.casefold().replace("-", "_")
    name = SHORT.get(name, name)
    if name in _known():
        return name
    nearest = process.extractOne(name, (*_known(), *SHORT))
    raise Refused("flag_unknown", flag=flag, nearest=nearest[0])


def _value(name: str, flag: str, quoted: str, rest: str) -> Value:
    """What stands behind a flag: one quoted text and nothing else, or any text."""
    text = f"{quoted} {rest}".strip() if rest else quoted[1:-1].strip()
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
    value = options()[name].parse(text)
    options()[name].check(value)
    return value
