"""The modals of actions: a request's prompt and parameters, filled in, and what comes of them."""

import functools
import re
from collections.abc import Mapping
from typing import Final

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import SubmitHandler, Values, prompt_of, text_of
from bot.interactions.responding import Interaction, acknowledge, check_can_post
from bot.interactions.sight import at_component
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.editing import edited
from bot.requests.parameter_lines import write
from bot.services import Services
from bot.ui.job_embeds import keys_ignored
from bot.ui.modal import Modal
from generation.job import Job
from generation.refusal import Refused
from generation.request import GenerationRequest


def request_modal(
    name: str, request: GenerationRequest, job: Job, index: int | None, texts: Texts
) -> Modal:
    """A request's prompt and parameters, to ask for it changed (edit) or from a picture (start)."""
    where = f"{job.id}" if index is None else f"{job.id}:{index}"
    modal = Modal(f"darkroom:{name}:{where}", texts(f"dialog_{name}", job=job.id))
    modal.text("prompt", texts("dialog_prompt"), value=request.prompt, long=True, required=True)
    modal.text("negative_prompt", texts("field_negative"), value=request.negative_prompt, long=True)
    return modal.text(
        "parameters", texts("dialog_parameters"), value=write(request), long=True, required=True
    )


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
    *,
    name: str,
) -> None:
    job = await services.store.jobs.get(_number(where[0]))
    if job is None:
        raise Refused("job_unknown")
    index = _number(where[1]) if len(where) > 1 else None
    target = ActionTarget(ACTIONS[name], index)
    await services.requests.check(name, caller, job, await at_component(interaction, caller, job))
    change = edited(
        services.requests.editable(target, job),
        prompt_of(values),
        text_of(values, "negative_prompt"),
        text_of(values, "parameters"),
        services.catalog,
        services.requests.rules,
    )
    private = caller.answers_privately(job) if change.private is None else change.private
    check_can_post(interaction, caller, private=private)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    job = await services.requests.submit(change.request, caller, origin, target, job)
    await acknowledge(interaction, job, keys_ignored(change.ignored, caller.texts))


def _number(text: str) -> int:
    """A number in a custom_id. Raises Refused for what this bot never wrote."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused("job_unknown")
    return int(text)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    name: functools.partial(_on_submit, name=name) for name in ("edit", "start")
}
