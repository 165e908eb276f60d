"""The forms of a prompt that say different things at different steps.

`[from:to:when]` is a change, `[a|b]` are turns, and `(…)` and other `[…]` emphasis, which is kept
for `attention` to read. A form holds nothing but whole forms and words, so that a bracket without
its partner, or a second colon in round brackets, makes the brackets around it words, and none
inside of others. A bar that stands in no form makes words of them all, and so does a backslash
before nothing.
Source: A1111's wiki, "Prompt editing", and what its parser answers (tests/data).
"""

import functools
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from generation.prompts import ties

_TOKEN: Final = re.compile(r"(?:[^\\\[\]():|]|\\.)++|[\[\]():|]")
_WHEN: Final = re.compile(r"\s*+([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_SIGNS: Final = frozenset("()[]:")
_OPENS: Final = {")": "(", "]": "["}


class Form(msgspec.Struct, frozen=True):
    """Brackets with their partner."""

    parts: "tuple[tuple[str | Form, ...], ...]"
    """Emphasis: one, the brackets included. Of a change what is said before, and after."""
    when: str | None = None
    """Of a change the number as it is written."""
    turns: bool = False


Items = list[str | Form]
"""Words, signs that have become words, and forms, in order."""


class _Open(msgspec.Struct):
    """A bracket that waits for its partner, and what stands in it, apart at colons and bars."""

    bracket: str
    parts: list[Items]
    separators: list[str]


@functools.lru_cache(maxsize=64)
def read(prompt: str) -> tuple[str | Form, ...] | None:
    """The words and forms of a prompt without tags; None where the whole is words."""
    items = _read(prompt)
    if items is None:
        return None
    unpaired = any(item in _SIGNS for item in items if isinstance(item, str))
    if unpaired and ties.in_doubt(prompt):
        items = _read(prompt, ties.changes(prompt))
        assert items is not None  # the bars are in the same forms
    return tuple(items)


def _read(prompt: str, changes: frozenset[int] | None = None) -> Items | None:
    """Words and forms in order; of changes those alone that end at `changes`, if it is given."""
    items: Items = []
    opened: list[_Open] = []
    end = 0
    for match in _TOKEN.finditer(prompt):
        if match.start() != end:
            return None
        end, token = match.end(), match[0]
        if token in ("(", "["):
            opened.append(_Open(token, [[]], []))
        elif token in _OPENS:
            if opened and opened[-1].bracket == _OPENS[token]:
                form = _form(opened[-1])
                if form is not None and form.when is not None and changes is not None:
                    form = form if match.start() in changes else None
                if form is not None:
                    opened.pop()
                    (opened[-1].parts[-1] if opened else items).append(form)
                    continue
            # without a partner, or around what is no form
            if not _give_up(opened, items):
                return None
            items.append(token)
        elif token in (":", "|") and opened:
            opened[-1].separators.append(token)
            opened[-1].parts.append([])
        elif token == "|":
            return None
        else:
            (opened[-1].parts[-1] if opened else items).append(token)
    return items if end == len(prompt) and _give_up(opened, items) else None


def _form(open_: _Open) -> Form | None:
    """What a bracket is now that its partner has come; None where the two are no form."""
    parts = tuple(map(tuple, open_.parts))
    colons, bars = open_.separators.count(":"), open_.separators.count("|")
    if open_.bracket == "(":
        whole = [*_with_separators(open_), ")"] if colons < 2 and not bars else None
        return None if whole is None else Form((tuple(whole),))
    if not colons and not bars:
        return Form((("[", *parts[0], "]"),))
    if not colons:
        return Form(parts, turns=True)
    number = parts[-1][0] if len(parts[-1]) == 1 else None
    when = _WHEN.fullmatch(number) if isinstance(number, str) else None
    if bars or colons > 2 or when is None:
        return None
    before, after = ((), parts[0]) if colons == 1 else parts[:2]
    return Form((before, after), when=when[1])


def _give_up(opened: list[_Open], items: Items) -> bool:
    """Open brackets have become words; False where a bar has, which can't be one."""
    for each in opened:
        if "|" in each.separators:
            return False
        items += _with_separators(each)
    opened.clear()
    return True


def _with_separators(open_: _Open) -> Items:
    found: Items = [open_.bracket, *open_.parts[0]]
    for separator, part in zip(open_.separators, open_.parts[1:], strict=True):
        found += [separator, *part]
    return found


def all_forms(items: Iterable[str | Form]) -> list[Form]:
    """The forms, and those within them."""
    found: list[Form] = []
    rest = list(items)
    while rest:
        item = rest.pop()
        if isinstance(item, Form):
            found.append(item)
            for part in item.parts:
                rest += part
    return found
