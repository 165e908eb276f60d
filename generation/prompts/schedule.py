"""What a prompt says at which step.

`[from:to:when]` says `from` up to step `when` and `to` after it, `[to:when]` nothing and then `to`,
`[from::when]` `from` and then nothing; `when` is a step, or, with a point or below 1, a fraction of
the steps. `[a|b]` says `a` at the first step, `b` at the second, and so on.

Brackets that fit no such form are kept for `attention` to read. They are told as A1111 tells them:
a form holds nothing but whole forms, emphasis and words, so that a bracket without its partner, or
a second colon in round brackets, undoes all the brackets around it and none inside of others. A bar
that stands in no such form undoes them all, and so does a backslash before nothing.
Source: A1111's wiki, "Prompt editing", and what its parser answers (tests/data). Of several things
between two bars it takes the first alone; an empty place, where it stopped, says nothing.
"""

import re
from typing import Final

import msgspec

from generation.prompts.attention import plain_text
from generation.prompts.composition import composed

_TOKEN: Final = re.compile(r"(?:[^\\\[\]():|]|\\.)++|[\[\]():|]")
_WHEN: Final = re.compile(r"\s*+([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_OPENS: Final = {")": "(", "]": "["}


class _Form(msgspec.Struct, frozen=True):
    """Brackets with their partner: emphasis, a change at a step, or turns."""

    parts: "tuple[tuple[str | _Form, ...], ...]"
    when: str | None = None
    """Of a change, whose parts are what is said before and after."""
    turns: bool = False


_Items = list[str | _Form]


class _Open(msgspec.Struct):
    """A bracket that waits for its partner, and what stands in it, apart at colons and bars."""

    bracket: str
    parts: list[_Items]
    separators: list[str]


def schedule(
    prompt: str, steps: int, hires_steps: int | None = None, *, old: bool = False
) -> list[tuple[int, str]]:
    """What a prompt without tags or AND says, as (until that step, text), in order; the last is
    until the last step. Steps count from 1; one that ends at 0 is never drawn.

    With `hires_steps` that of a second pass of so many steps: there whole numbers count on from
    the first pass's steps, and fractions 0 to 1 are the first pass and 1 to 2 the second. With
    `old`, as A1111 before 1.6 and its setting "old prompt editing timelines", a second pass says
    what the first did, over its own steps.
    """
    second = hires_steps is not None
    last = hires_steps if hires_steps is not None else steps
    items = _read(prompt)
    if items is None:
        return [(last, prompt)]
    passed = steps if second and not old else 0
    forms = _all_forms(items)
    ends = {
        form.when: _step(form.when, last, passed, old) for form in forms if form.when is not None
    }
    first = 1 if passed else 0
    untils = {last, *(end for end in ends.values() if end >= first)}
    if any(form.turns for form in forms):
        untils.update(range(1, last + 1))
    return [(until, _said(items, until, ends)) for until in sorted(untils)]


def drawn_texts(prompt: str, steps: int, hires_steps: int | None = None) -> list[str]:
    """Every text that the encoder reads for a prompt without tags, each once, without weights."""
    found: dict[str, None] = {}
    for part, _ in composed(prompt):
        for total in (None, hires_steps) if hires_steps else (None,):
            for _, text in schedule(part, steps, total):
                found[plain_text(text)] = None
    return list(found)


def _step(when: str, steps: int, passed: int, old: bool) -> int:
    """The last step before a change; `passed` are the steps of a pass before."""
    value = float(when)
    if "." in when and not (old and value >= 1):
        value = (value - (1 if passed else 0)) * steps
    elif value >= 1:
        value -= passed
    else:
        value = value * steps - passed
    return int(max(-1.0, min(float(steps), value)))


def _read(prompt: str) -> _Items | None:
    """Words and forms in order; None where the whole is words."""
    items: _Items = []
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


def _form(open_: _Open) -> _Form | None:
    """What a bracket is now that its partner has come; None where the two are no form."""
    parts = tuple(map(tuple, open_.parts))
    colons, bars = open_.separators.count(":"), open_.separators.count("|")
    if open_.bracket == "(":
        whole = [*_with_separators(open_), ")"] if colons < 2 and not bars else None
        return None if whole is None else _Form((tuple(whole),))
    if not colons and not bars:
        return _Form((("[", *parts[0], "]"),))
    if not colons:
        return _Form(parts, turns=True)
    number = parts[-1][0] if len(parts[-1]) == 1 else None
    when = _WHEN.fullmatch(number) if isinstance(number, str) else None
    if bars or colons > 2 or when is None:
        return None
    before, after = ((), parts[0]) if colons == 1 else parts[:2]
    return _Form((before, after), when=when[1])


def _give_up(opened: list[_Open], items: _Items) -> bool:
    """Open brackets have become words; False where a bar has, which can't be one."""
    for each in opened:
        if "|" in each.separators:
            return False
        items += _with_separators(each)
    opened.clear()
    return True


def _with_separators(open_: _Open) -> _Items:
    found: _Items = [open_.bracket, *open_.parts[0]]
    for separator, part in zip(open_.separators, open_.parts[1:], strict=True):
        found += [separator, *part]
    return found


def _all_forms(items: _Items) -> list[_Form]:
    found: list[_Form] = []
    rest = list(items)
    while rest:
        item = rest.pop()
        if isinstance(item, _Form):
            found.append(item)
            for part in item.parts:
                rest += part
    return found


def _said(items: _Items, step: int, ends: dict[str, int]) -> str:
    said: list[str] = []
    rest = items[::-1]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            said.append(item)
        elif item.when is not None:
            rest += item.parts[step > ends[item.when]][::-1]
        elif item.turns:
            rest += item.parts[(step - 1) % len(item.parts)][:1]
        else:
            rest += item.parts[0][::-1]
    return "".join(said)
