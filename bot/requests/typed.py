"""What somebody typed after `/imagine`, as the fields of a modal, and back.

Nothing is checked or filled in on the way: what is refused is shown as it was typed. Parameters
stand one a line, as in the modals of finished pictures; so do `preset`, `private` and `aspect`. A
picture that was given is a line `init_picture: kept`, and without that line left out.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from bot.requests import parameter_lines
from generation import control_requests
from generation.name_search import nearest
from generation.refusal import Refused
from generation.request_options import exact, options

KEPT: Final = "kept"
"""Stands for a picture."""
OTHERS: Final = ("aspect", "preset", "private")
"""What people may give that is no field of a request."""
YES: Final = frozenset(("true", "yes", "on", "1", "是"))
NO: Final = frozenset(("false", "no", "off", "0", "否"))


def fields(given: Mapping[str, Any], uploads: Mapping[str, str]) -> dict[str, str]:
    """The values of a modal that stand for what was given; of the pictures, these are kept."""
    pictures = _pictures()
    lines = []
    for name, value in given.items():
        if name in parameter_lines.ELSEWHERE or name in pictures:
            continue
        several = value if isinstance(value, tuple) else (value,)
        lines += [f"{name}: {_written(each)}" for each in several]
    lines += [f"{name}: {KEPT}" for name in uploads]
    return {
        "prompt": str(given.get("prompt", "")),
        "negative_prompt": str(given.get("negative_prompt", "")),
        "parameters": "\n".join(lines),
    }


def given(values: Mapping[str, str], uploads: Mapping[str, str]) -> dict[str, Any]:
    """What was given, from the values of such a modal. Raises Refused, naming the line."""
    found: dict[str, Any] = {"prompt": values["prompt"]}
    if values["negative_prompt"]:
        found["negative_prompt"] = values["negative_prompt"]
    known = [name for name in options() if name not in parameter_lines.ELSEWHERE]
    for name, text in parameter_lines.lines(values["parameters"]):
        if name not in known and name not in OTHERS:
            [alike] = nearest(name, [*known, *OTHERS])
            raise Refused("parameter_unknown", name=name[:50], nearest=alike)
        value = _read(name, text, uploads)
        if name == "lora":
            value = (*found.get("lora", ()), value)
        elif name == "controlnet" and name in found:
            value = (*control_requests.several(found[name]), value)
        elif found.setdefault(name, value) != value:
            raise Refused("parameter_twice", name=name)
        found[name] = value
    if len(found.get("lora", ())) == 1:
        # a weight on a line of its own is that of the only one
        [found["lora"]] = found["lora"]
    return found


def apart(text: str) -> tuple[str, str | None, bool | None]:
    """Parameter lines without `preset` and `private`, and what these are; None without a line."""
    kept, preset, private = [], None, None
    for line in text.split("\n"):
        found = list(parameter_lines.lines(line))
        if found and found[0][0] == "preset":
            preset = parameter_lines.unquoted(found[0][1])
        elif found and found[0][0] == "private":
            private = yes_or_no(found[0][1])
        else:
            kept.append(line)
    return "\n".join(kept), preset, private


def beside(preset: str | None, *, private: bool) -> str:
    """The lines that `apart` takes off."""
    lines = [f"preset: {_written(preset)}"] if preset else []
    return "\n".join([*lines, f"private: {_written(private)}"])


def yes_or_no(text: str) -> bool:
    """What `private` is. Raises Refused."""
    word = text.strip().casefold()
    if word not in YES | NO:
        raise Refused("flag_yes_or_no", flag="private")
    return word in YES


def _read(name: str, text: str, uploads: Mapping[str, str]) -> Any:
    if name in _pictures():
        if text.casefold() != KEPT or name not in uploads:
            raise Refused("draft_picture", option=name)
        return uploads[name]
    if name == "private":
        return yes_or_no(text)
    if name in OTHERS:
        return parameter_lines.unquoted(text)
    option = options()[name]
    if option.type is not str or option.choices:
        return option.parse(text)
    if option.choices:
        return option.parse(parameter_lines.unquoted(text))
    return text if name == "lora" and not text.startswith('"') else parameter_lines.unquoted(text)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return exact(value) if isinstance(value, float) else str(value)
    text = str(value)
    return parameter_lines.name_text(text) if text else json.dumps(text)


def _pictures() -> frozenset[str]:
    return frozenset(name for name, option in options().items() if option.picture)
