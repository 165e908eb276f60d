"""Asks for what a dialog's prompt, its flags and its fields say."""

from collections.abc import Mapping
from typing import Any

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import Values, text_of
from bot.interactions.responding import Interaction, acknowledge, check_can_post
from bot.requests.actions import ActionTarget
from bot.requests.editing import edited
from bot.requests.parameter_lines import write
from generation import prompt_flags
from generation.job import Job
from generation.prompt_flags import Parsed
from generation.request import GenerationRequest


async def ask_parsed(
    interaction: Interaction, caller: Caller, parsed: Parsed, fields: Mapping[str, Any]
) -> None:
    """Ask for a new request of a prompt and these options, and follow it. Raises Refused."""
    given = prompt_flags.merge(parsed, fields)
    private = bool(given.pop("private", caller.own.private))
    preset: str | None = given.pop("preset", None)
    check_can_post(interaction, caller, private=private)
    token, ignored = token_of(interaction), prompt_flags.ignored(parsed, given)
    origin = caller.origin(private=private, interaction=token, ignored=ignored)
    job = await interaction.client.services.requests.ask(given, caller, origin, preset)
    await acknowledge(interaction, job)


async def ask_edited(
    interaction: Interaction,
    caller: Caller,
    target: ActionTarget,
    job: Job,
    base: GenerationRequest,
    prompt: str,
    negative: str,
    *,
    private: bool,
) -> None:
    """Ask for what an action makes of a job, with these prompts and what their flags say of it, and
    follow it. Raises Refused.
    """
    requests = interaction.client.services.requests
    change = edited(base, prompt, negative, write(base), requests.catalog, requests.rules)
    token = token_of(interaction)
    origin = caller.origin(private=private, interaction=token, ignored=change.ignored)
    made = await requests.submit(change.request, caller, origin, target, job)
    await acknowledge(interaction, made)


def named_or_chosen(values: Values, field: str) -> str:
    """The name in the field `other`, or else the one that was chosen in that menu."""
    chosen = values.get(field)
    return text_of(values, "other") or (str(chosen[0]) if chosen else "")
