"""*Draw a part anew…*: the modal in which a part of a finished picture is masked and redrawn."""

from collections.abc import Mapping
from typing import Final

from bot.access.caller import Caller
from bot.features.actions import redraw_fields
from bot.features.actions.redraw_fields import MASK, GivenMask
from bot.interactions.asking import ask_edited
from bot.interactions.drafts import typing
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    prompt_of,
    typed_in,
)
from bot.interactions.responding import Interaction, check_can_post, defer
from bot.interactions.sight import of_dialog
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.editing import private_told
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import mask_words
from generation.job import Job
from generation.request_options import options
from storage.drafts import Draft

NAME: Final = "redraw"


def modal_for(
    job: Job, index: int, strength: float, texts: Texts, draft: int = 0, *, masked: bool = False
) -> Modal:
    """Filled in with the prompt that drew the picture, and how much of the part is drawn anew; of
    the `draft` of that number, if it is none of a button.
    """
    custom_id = f"darkroom:{NAME}:{job.id}:{index}" + (f":{draft}" if draft else "")
    title = texts("dialog_redraw", job=job.id)
    return redraw_fields.modal_of(
        custom_id, title, job.request.prompt, strength, texts, masked=masked
    )


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    before = await redraw_fields.draft_in(services, caller, where, 2)
    uploads = {} if before is None else before.uploads
    draft = Draft(name=NAME, where=tuple(where[:2]), values=typed_in(values), uploads=uploads)
    given_mask = GivenMask(services, interaction, values, draft)
    typing(interaction, given_mask.draft)
    job = await of_dialog(interaction, caller, NAME, where)
    target, requests = ActionTarget(ACTIONS[NAME], number_in(part_of(where, 1))), services.requests
    redraw_fields.check_masked(values, given_mask)
    given, prompt = redraw_fields.given_in(values), prompt_of(values)
    base = requests.remaking.redrawn(target, job)
    told = private_told(prompt, base)
    private = caller.answers_privately(job) if told is None else told
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    given |= mask_words.named(given, services.catalog)
    # fetching may take longer than the three seconds that Discord waits
    await defer(interaction, private=private)
    given[MASK] = await given_mask.read()
    base = base.with_(**{options()[name].field: value for name, value in given.items()})
    negative = base.negative_prompt
    await ask_edited(interaction, caller, target, job, base, prompt, negative, private=private)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    job = await of_dialog(interaction, caller, NAME, draft.where)
    index = number_in(part_of(draft.where, 1))
    return modal_for(job, index, 1.0, caller.texts, number, masked=MASK in draft.uploads)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
