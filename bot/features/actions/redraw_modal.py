"""*Draw a part anew…*: the modal in which a part of a finished picture is masked and redrawn."""

from collections.abc import Mapping
from typing import Any, Final

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer
from bot.interactions.sight import at_component
from bot.interactions.uploaded_files import uploaded_files
from bot.locales import Texts
from bot.pictures.uploads import read_attachment
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.editing import edited, private_told
from bot.requests.parameter_lines import write
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation.job import Job
from generation.refusal import Refused
from generation.request_options import exact, options
from storage.drafts import Draft

NAME: Final = "redraw"
CONTENT, AREA, STRENGTH = "masked_content", "inpaint_area", "denoising"


def modal_for(job: Job, index: int, strength: float, texts: Texts) -> Modal:
    """Filled in with the prompt that drew the picture, and how much of the part is drawn anew."""
    modal = Modal(f"darkroom:{NAME}:{job.id}:{index}", texts("dialog_redraw", job=job.id))
    modal.text("prompt", texts("dialog_prompt"), value=job.request.prompt, long=True, required=True)
    modal.file("mask", texts("redraw_mask"), texts("redraw_mask_about"), required=True)
    contents = {
        choice: texts(f"redraw_{choice.replace(' ', '_')}") for choice in options()[CONTENT].choices
    }
    modal.options(CONTENT, texts("redraw_content"), contents, "original")
    areas = {
        choice: texts(f"redraw_{choice.replace(' ', '_')}") for choice in options()[AREA].choices
    }
    modal.options(AREA, texts("redraw_area"), areas, "whole picture")
    return modal.text(STRENGTH, texts("redraw_strength"), value=exact(strength), required=True)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    job = await services.store.jobs.get(number_in(part_of(where, 0)))
    if job is None:
        raise Refused("job_unknown")
    target = ActionTarget(ACTIONS[NAME], number_in(part_of(where, 1)))
    there = await at_component(interaction, caller, job)
    requests = services.requests
    await requests.check(NAME, caller, job, there)
    given = {STRENGTH: options()[STRENGTH].take(text_of(values, STRENGTH))}
    for name in (CONTENT, AREA):
        chosen = values.get(name)
        if isinstance(chosen, list) and chosen:
            given[name] = options()[name].take(str(chosen[0]))
    base, prompt = requests.remaking.redrawn(target, job), prompt_of(values)
    told = private_told(prompt, base)
    private = caller.answers_privately(job) if told is None else told
    check_can_post(interaction, caller, private=private)
    await requests.check_asking(caller)
    attachments = uploaded_files(interaction, values, "mask")
    if not attachments:
        raise Refused("redraw_unmasked")
    # fetching may take longer than the three seconds that Discord waits
    await defer(interaction, private=private)
    mask = await _mask(services, caller, attachments[0])
    fields = {options()[name].field: value for name, value in given.items()}
    base = base.with_(mask=mask, **fields)
    negative = base.negative_prompt
    change = edited(base, prompt, negative, write(base), services.catalog, requests.rules)
    token = token_of(interaction)
    origin = caller.origin(private=private, interaction=token, ignored=change.ignored)
    made = await requests.submit(change.request, caller, origin, target, job)
    await acknowledge(interaction, made)


async def _mask(services: Services, caller: Caller, attachment: Any) -> str:
    """What is erased of the file that was uploaded, or else the mask that it is."""
    limits, person = services.requests.rules.limits, caller.person.id
    for part in ("erased", "mask"):
        [content] = await read_attachment(
            attachment, person, services.decoder, limits, parts=(part,), still=True
        )
        if content:
            return await services.store.jobs.keep_upload(content)
    raise Refused("mask_black", file=attachment.filename)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    requests = interaction.client.services.requests
    job = await requests.jobs.get(number_in(part_of(draft.where, 0)))
    if job is None:
        raise Refused("job_unknown")
    await requests.check(NAME, caller, job, await at_component(interaction, caller, job))
    return modal_for(job, number_in(part_of(draft.where, 1)), 1.0, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
