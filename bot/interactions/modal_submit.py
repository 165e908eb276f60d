"""Modals that people hand in: each goes to the handler that its custom_id names."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.access.caller import Caller
from bot.interactions.drafts import typing
from bot.interactions.responding import Interaction, responding
from bot.services import Services
from bot.ui.modal import PARTS_MAX
from generation.refusal import Refused
from generation.request_options import options
from storage.drafts import Draft

Values = Mapping[str, Any]
"""What was entered, by field: text, or a list of chosen values."""

SubmitHandler = Callable[[Services, Interaction, Caller, list[str], Values], Awaitable[None]]
"""Is given what follows the name in the custom_id, and the values. Raises Refused."""


async def on_modal(interaction: Interaction, handlers: Mapping[str, SubmitHandler]) -> None:
    """Take a modal that somebody handed in; those of others are not ours."""
    data: Mapping[str, Any] = interaction.data or {}
    found = re.fullmatch(r"darkroom:(?P<name>[a-z_]+)(?P<rest>(:[^:]*)*)", data["custom_id"])
    if found is None:
        return
    handler = handlers.get(found["name"])
    where, values = found["rest"].split(":")[1:], entered(data)
    if handler is not None:
        typing(interaction, Draft(name=found["name"], where=tuple(where), values=_typed(values)))
    async with responding(interaction) as caller:
        if handler is None:
            raise Refused("job_unknown")
        await handler(interaction.client.services, interaction, caller, where, values)


def entered(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a handed-in modal by custom_id, however deep Discord nests them."""
    found: dict[str, Any] = {}

    def look(components: list[Mapping[str, Any]]) -> None:
        for component in components:
            if "custom_id" in component:
                found[component["custom_id"]] = component.get("values", component.get("value", ""))
            look([*component.get("components", [])])
            if "component" in component:
                look([component["component"]])

    look(list(data.get("components", [])))
    return found


def _typed(values: Values) -> dict[str, str | list[str]]:
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
    return str(values.get(name) or "").strip()


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
