"""The modal in which a finished picture is extended: to which sides, how far, with what prompt."""

from collections.abc import Mapping
from typing import Any, Final

from bot.access.caller import Caller
from bot.interactions.asking import ask_edited
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import Interaction, check_can_post
from bot.interactions.sight import of_dialog
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.editing import private_told
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation.job import Job
from generation.outpainting import Sides
from generation.refusal import Refused
from storage.drafts import Draft

NAME: Final = "extend"
SIDES: Final = ("left", "right", "top", "bottom")
SHARES: Final[Mapping[str, float]] = {"quarter": 0.25, "half": 0.5, "whole": 1.0}
"""How far a picture is extended to each side, as shares of the side."""


def modal_for(job: Job, index: int, texts: Texts) -> Modal:
    """Filled in with the prompt that drew the picture."""
    modal = Modal(f"darkroom:{NAME}:{job.id}:{index}", texts("dialog_extend", job=job.id))
    modal.several("sides", texts("extend_sides"), {s: texts(f"extend_{s}") for s in SIDES}, SIDES)
    shares = {share: texts(f"extend_{share}") for share in SHARES}
    modal.options("share", texts("extend_share"), shares, "quarter")
    prompt, negative = job.request.prompt, job.request.negative_prompt
    modal.text("prompt", texts("dialog_prompt"), value=prompt, long=True, required=True)
    return modal.text("negative_prompt", texts("field_negative"), value=negative, long=True)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    job = await of_dialog(interaction, caller, NAME, where)
    target, requests = ActionTarget(ACTIONS[NAME], number_in(part_of(where, 1))), services.requests
    prompt = prompt_of(values)
    base = requests.remaking.extended(target, job, _sides(values))
    negative, told = text_of(values, "negative_prompt"), private_told(prompt, base)
    private = caller.answers_privately(job) if told is None else told
    check_can_post(interaction, caller, private=private)
    await ask_edited(interaction, caller, target, job, base, prompt, negative, private=private)


def _sides(values: Values) -> Sides:
    chosen, share = _chosen(values, "sides"), _chosen(values, "share")
    found: dict[str, Any] = {
        side: SHARES[share[0]]
        for side in SIDES
        if side in chosen and share[:1] and share[0] in SHARES
    }
    if not found:
        raise Refused("extend_nowhere")
    return Sides(**found)


def _chosen(values: Values, name: str) -> list[str]:
    found = values.get(name)
    return [str(value) for value in found] if isinstance(found, list) else []


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    job = await of_dialog(interaction, caller, NAME, draft.where)
    return modal_for(job, number_in(part_of(draft.where, 1)), caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
