"""Asks for what a dialog's prompt, its flags and its fields say."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import Values, text_of
from bot.interactions.responding import Interaction, acknowledge, check_can_post
from bot.requests.actions import ActionTarget
from bot.requests.editing import edited
from bot.requests.parameter_lines import write
from generation import prompt_flags
from generation.job import Job, Origin
from generation.prompt_flags import Parsed
from generation.request import GenerationRequest


class Merged(NamedTuple):
    """What is asked for by flags and by fields or options beside them."""

    given: dict[str, Any]
    private: bool
    preset: str | None


def merged(
    parsed: Parsed, fields: Mapping[str, Any], caller: Caller, pictures: Sequence[str] = ()
) -> Merged:
    """A prompt's flags with the fields beside it; `pictures` are options that are yet to be read.
    Raises Refused.
    """
    given = prompt_flags.merge(parsed, fields, pictures)
    private = bool(given.pop("private", caller.own.private))
    return Merged(given, private, given.pop("preset", None))


def origin_of(
    interaction: Interaction,
    caller: Caller,
    parsed: Parsed,
    given: Mapping[str, Any],
    *,
    private: bool,
) -> Origin:
    """Where the answer goes, and what of the prompt means nothing here."""
    token, ignored = token_of(interaction), prompt_flags.ignored(parsed, given)
    return caller.origin(private=private, interaction=token, ignored=ignored)


async def ask_parsed(
    interaction: Interaction, caller: Caller, parsed: Parsed, fields: Mapping[str, Any]
) -> None:
    """Ask for a new request of a prompt and these options, and follow it. Raises Refused."""
    asked = merged(parsed, fields, caller)
    check_can_post(interaction, caller, private=asked.private)
    origin = origin_of(interaction, caller, parsed, asked.given, private=asked.private)
    job = await interaction.client.services.requests.ask(asked.given, caller, origin, asked.preset)
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
