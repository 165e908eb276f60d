"""Modals that people hand in: each goes to the handler that its custom_id names."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.access.caller import Caller
from bot.interactions.responding import Interaction, responding
from bot.services import Services
from generation.refusal import Refused
from generation.request_options import options

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
    async with responding(interaction) as caller:
        if handler is None:
            raise Refused("job_unknown")
        where = found["rest"].split(":")[1:]
        await handler(interaction.client.services, interaction, caller, where, entered(data))


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


def text_of(values: Values, name: str) -> str:
    """The text of a field, without the blanks around it; empty where there is none."""
    return str(values.get(name) or "").strip()


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
