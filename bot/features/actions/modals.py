"""The modals of actions: a request's prompt and parameters, filled in, and what comes of them."""

import functools
from collections.abc import Mapping
from typing import Final

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    lines_of,
    number_in,
    part_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import Interaction, acknowledge, check_can_post
from bot.interactions.sight import at_component, of_dialog
from bot.locales import Texts
from bot.requests import typed
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.editing import edited, preset_named
from bot.requests.parameter_lines import write
from bot.services import Reopener, Services
from bot.ui.modal import PARTS_MAX, Modal
from generation.job import Job
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.drafts import Draft

NAMES: Final = ("edit", "start", "retry")
"""Actions that ask for more in a modal."""
OF_PRESETS: Final = frozenset(("preset_for_roles", "preset_elsewhere"))
"""Refusals for the preset that a request was made with."""
PARAMETERS: Final = ("parameters", *(f"parameters_{n}" for n in range(2, PARTS_MAX + 1)))
"""Fields of parameter lines, as many as a modal has at most."""


def request_modal(
    name: str, request: GenerationRequest, job: Job, index: int | None, texts: Texts
) -> Modal:
    """A request's prompt and parameters, to ask for it changed (edit) or from a picture (start)."""
    where = f"{job.id}" if index is None else f"{job.id}:{index}"
    modal = Modal(f"darkroom:{name}:{where}", texts(f"dialog_{name}", job=job.id))
    modal.text("prompt", texts("dialog_prompt"), value=request.prompt, long=True, required=True)
    modal.text("negative_prompt", texts("field_negative"), value=request.negative_prompt, long=True)
    lines = write(request)
    if name == "retry":
        preset = job.preset.name if job.preset is not None else None
        lines += "\n" + typed.beside(preset, private=job.origin.private)
    return modal.lines("parameters", texts("dialog_parameters"), lines, required=True)


def new_modal(prompt: str, job: Job, texts: Texts) -> Modal:
    """The dialog of a new request with that prompt, as private as what it came of."""
    modal = Modal(f"darkroom:imagine_this:{job.id}", texts("dialog_imagine_this"))
    modal.text("prompt", texts("dialog_prompt"), value=prompt, long=True, required=True)
    modal.text("negative_prompt", texts("field_negative"), long=True)
    lines = typed.beside(None, private=True) if job.origin.private else ""
    return modal.lines("parameters", texts("dialog_parameters"), lines)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
    *,
    name: str,
) -> None:
    job = await of_dialog(interaction, caller, name, where)
    index = number_in(where[1]) if len(where) > 1 else None
    target = ActionTarget(ACTIONS[name], index)
    requests = services.requests
    base, prompt = requests.remaking.editable(target, job), prompt_of(values)
    lines, line, private = lines_of(values, "parameters"), None, None
    use = job.preset
    if name == "retry":
        lines, line, private = typed.apart(lines)
        use = use if line is not None else None
    named = preset_named(prompt, base)
    if named is None and (use is None or line != use.name):
        named = line
    chosen = await requests.preset_for(caller, named) if named is not None else None
    change = edited(
        base,
        prompt,
        text_of(values, "negative_prompt"),
        lines,
        services.catalog,
        requests.rules,
        chosen.preset if chosen is not None else None,
        framed=chosen is not None and chosen.use == job.preset,
    )
    use = chosen.use if chosen is not None else use
    private = private if change.private is None else change.private
    if private is None:
        private = caller.answers_privately(job)
    check_can_post(interaction, caller, private=private)
    token = token_of(interaction)
    origin = caller.origin(private=private, interaction=token, ignored=change.ignored)
    job = await requests.change(change.request, caller, origin, target, job, use)
    await acknowledge(interaction, job)


async def _reopen(
    interaction: Interaction, caller: Caller, draft: Draft, number: int, *, name: str
) -> Modal:
    """The modal of a request. Where that is gone, or nothing is to be had from it any more, that of
    a new one, for what they typed themselves. Raises Refused for a preset that is not for them.
    """
    requests = interaction.client.services.requests
    job = await requests.jobs.get(number_in(part_of(draft.where, 0)))
    index = number_in(draft.where[1]) if len(draft.where) > 1 else None
    if job is None:
        return _bare(caller, draft, number)
    try:
        there = await at_component(interaction, caller, job)
        await requests.check(name, caller, job, there)
        request = requests.remaking.editable(ActionTarget(ACTIONS[name], index), job)
    except Refused as refused:
        if refused.code in OF_PRESETS:
            raise
        return _bare(caller, draft, number)
    return request_modal(name, request, job, index, caller.texts)


def _bare(caller: Caller, draft: Draft, number: int) -> Modal:
    modal = Modal(f"darkroom:imagine:{number}", caller.texts("dialog_imagine"))
    modal.text("prompt", caller.texts("dialog_prompt"), long=True, required=True)
    modal.text("negative_prompt", caller.texts("field_negative"), long=True)
    for field in PARAMETERS:
        if field in draft.values:
            modal.text(field, caller.texts("dialog_parameters"), long=True)
    return modal


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    name: functools.partial(_on_submit, name=name) for name in NAMES
}
REOPEN: Final[Mapping[str, Reopener]] = {
    name: functools.partial(_reopen, name=name) for name in NAMES
}
