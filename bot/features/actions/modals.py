"""The modals of actions: a request's prompt and parameters, filled in, and what comes of them."""

import functools
from collections.abc import Mapping
from typing import Final

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.modal_submit import SubmitHandler, Values, prompt_of, text_of
from bot.interactions.responding import Interaction, acknowledge
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget, start_from
from bot.requests.parameter_lines import read, write
from bot.services import Services
from bot.ui.modal import Modal
from generation import prompt_flags
from generation.job import Job
from generation.refusal import Refused
from generation.request import GenerationRequest


def edit(job: Job, index: int | None, texts: Texts) -> Modal:
    """The request's prompt and parameters, to ask for it changed."""
    return _request_modal("edit", job.request, job, index, texts)


def start(job: Job, index: int, request: GenerationRequest, texts: Texts) -> Modal:
    """The parameters of an img2img from a picture."""
    return _request_modal("start", request, job, index, texts)


def _request_modal(
    name: str, request: GenerationRequest, job: Job, index: int | None, texts: Texts
) -> Modal:
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
    job = await services.store.jobs.get(int(where[0]))
    if job is None:
        raise Refused("job_unknown")
    index = int(where[1]) if len(where) > 1 else None
    base = job.request
    if name == "start":
        base = start_from(services.requests.source(job, index))
    parsed = prompt_flags.parse(prompt_of(values))
    negative = parsed.given.pop("negative_prompt", text_of(values, "negative_prompt"))
    base = base.with_(prompt=parsed.prompt, negative_prompt=negative)
    # a flag is one more line, and wins over the one that was filled in
    lines = [text_of(values, "parameters")]
    for flag, value in parsed.given.items():
        lines += [f"{flag}: {v}" for v in (value if isinstance(value, tuple) else (value,))]
    request = read("\n".join(lines), base)
    origin = caller.origin(private=job.origin.private, interaction=token_of(interaction))
    target = ActionTarget(ACTIONS[name], index)
    await acknowledge(
        interaction, await services.requests.submit(request, caller, origin, target, job)
    )


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    name: functools.partial(_on_submit, name=name) for name in ("edit", "start")
}
