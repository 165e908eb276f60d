"""Dialogs that people hand in: what was entered becomes a request, a preset or a setting."""

import functools
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

import discord

from bot.actions import ACTIONS, Press, start_from
from bot.answering import answering
from bot.commands import preset, settings
from bot.dialogs import Values
from bot.visits import Visit, interaction_of
from bot.written import read
from generation import prompt_flags
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_options import options

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def entered(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a handed-in dialog by custom_id, however deep Discord nests them."""
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


async def hand_in(client: "DarkroomClient", interaction: discord.Interaction[Any]) -> None:
    """Take a dialog that somebody handed in; those of others are not ours."""
    data: Mapping[str, Any] = interaction.data or {}
    found = re.fullmatch(r"darkroom:(?P<name>[a-z_]+)(?P<rest>(:[^:]*)*)", data["custom_id"])
    if found is None:
        return
    taker = TAKERS.get(found["name"])
    async with answering(interaction) as visit:
        if taker is None:
            raise Refused("job_unknown")
        await taker(client, interaction, visit, found["rest"].split(":")[1:], entered(data))


async def _take_request(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    where: list[str],
    values: Values,
    *,
    name: str,
) -> None:
    job = await client.desk.jobs.get(int(where[0]))
    if job is None:
        raise Refused("job_unknown")
    index = int(where[1]) if len(where) > 1 else None
    base = job.request
    if name == "start":
        base = start_from(client.desk.source(job, index))
    parsed = prompt_flags.parse(_prompt(values))
    negative = parsed.given.pop("negative_prompt", _text(values, "negative_prompt"))
    base = base.with_(prompt=parsed.prompt, negative_prompt=negative)
    # a flag is one more line, and wins over the one that was filled in
    lines = [_text(values, "parameters")]
    for name_, value in parsed.given.items():
        lines += [f"{name_}: {v}" for v in (value if isinstance(value, tuple) else (value,))]
    request = read("\n".join(lines), base)
    origin = visit.origin(private=job.origin.private, interaction=interaction_of(interaction))
    new = await client.desk.submit(request, visit, origin, Press(ACTIONS[name], index), job)
    await client.acknowledge(interaction, new)


async def _take_control(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    where: list[str],
    values: Values,
) -> None:
    given: dict[str, Any] = {
        "prompt": _prompt(values),
        "control_picture": where[0],
        "controlnet": client.desk.catalog.get(ModelKind.CONTROLNET, values["controlnet"][0]).name,
        "control_scale": _number(values, "control_scale"),
    }
    origin = visit.origin(private=visit.own.private, interaction=interaction_of(interaction))
    await client.acknowledge(interaction, await client.desk.ask(given, visit, origin))


def _prompt(values: Values) -> str:
    prompt = _text(values, "prompt")
    if not prompt:
        raise Refused("prompt_empty")
    return prompt


def _text(values: Values, name: str) -> str:
    return str(values.get(name) or "").strip()


def _number(values: Values, name: str) -> float:
    option = options()[name]
    number = option.parse(_text(values, name) or "1")
    option.check(number)
    return float(number)


TAKERS: Final[Mapping[str, Callable[..., Coroutine[Any, Any, None]]]] = {
    "edit": functools.partial(_take_request, name="edit"),
    "start": functools.partial(_take_request, name="start"),
    "control": _take_control,
    "preset": preset.take,
    "setting": settings.take,
}
