"""Modals that people hand in: each goes to the handler that its custom_id names."""

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from bot.access.caller import Caller
from bot.interactions.drafts import typing
from bot.interactions.responding import AnsweredError, Interaction, responding
from bot.services import Services
from bot.ui.modal import PARTS_MAX
from generation.refusal import Refused
from generation.request_options import options
from storage.drafts import Draft

MODAL_ID: Final = re.compile(r"darkroom:[a-z_]{1,40}(?::[^:]{0,100})*+")
"""The custom_ids of modals: a name, and what its handler needs to know."""

Values = Mapping[str, Any]
"""What was entered, by field: text, or a list of chosen values."""

SubmitHandler = Callable[[Services, Interaction, Caller, list[str], Values], Awaitable[None]]
"""Is given what follows the name in the custom_id, and the values. Raises Refused."""


async def on_modal(interaction: Interaction, handlers: Mapping[str, SubmitHandler]) -> None:
    """Take a modal that somebody handed in, whatever it holds."""
    data: Mapping[str, Any] = interaction.data or {}
    found = MODAL_ID.fullmatch(str(data.get("custom_id")))
    name, *where = found[0].split(":")[1:] if found is not None else [""]
    handler, values = handlers.get(name), entered(data)
    if handler is not None:
        draft = Draft(name=name, where=tuple(where), values=typed_in(values))
        typing(interaction, draft)
    with contextlib.suppress(AnsweredError):
        async with responding(interaction) as caller:
            if handler is None:
                raise Refused("press_gone")
            await handler(interaction.client.services, interaction, caller, where, values)


def entered(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a handed-in modal by custom_id, however deep Discord nests them."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [{"components": data.get("components")}]
    while waiting:
        part = waiting.pop(0)
        if not isinstance(part, Mapping):
            continue
        if isinstance(part.get("custom_id"), str):
            found[part["custom_id"]] = part.get("values", part.get("value", ""))
        inner = part.get("components")
        waiting += inner if isinstance(inner, list) else []
        waiting.append(part.get("component"))
    return found


def typed_in(values: Values) -> dict[str, str | list[str]]:
    """What is worth keeping of it: texts, and the values that were chosen."""
    found: dict[str, str | list[str]] = {}
    for name, value in values.items():
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, list):
            found[name] = [each for each in value if isinstance(each, str)]
    return found


def text_of(values: Values, name: str) -> str:
    """The text of a field, without the blanks around it; empty where there is none."""
    text = values.get(name)
    return text.strip() if isinstance(text, str) else ""


def part_of(where: Sequence[str], place: int) -> str:
    """A part of a custom_id. Raises Refused where there is none."""
    if place >= len(where):
        raise Refused("press_gone")
    return where[place]


def number_in(text: str) -> int:
    """A number in a custom_id or a value of a menu. Raises Refused for what is none."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused("press_gone")
    return int(text)


def lines_of(values: Values, name: str) -> str:
    """The lines of a field, and of those that it goes on in."""
    names = (name, *(f"{name}_{number}" for number in range(2, PARTS_MAX + 1)))
    return "\n".join(filter(None, (text_of(values, each) for each in names)))


def prompt_of(values: Values) -> str:
    """The text of the field `prompt`. Raises Refused for an empty one."""
    prompt = text_of(values, "prompt")
    if not prompt:
        raise Refused("prompt_empty")
    return prompt


def number_of(values: Values, name: str) -> float:
    """The value of a request's option; 1 where nothing was entered. Raises Refused."""
    option = options()[name]
    number = option.parse(text_of(values, name) or "1")
    option.check(number)
    return float(number)
