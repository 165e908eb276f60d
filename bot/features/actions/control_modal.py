"""*Add control picture…*: the modal in which a request is given one more picture to follow."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.control_fields import asked_of
from bot.interactions.kept_pictures import keep
from bot.interactions.modal_submit import SubmitHandler, Values, number_in
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer
from bot.interactions.sight import of_dialog
from bot.interactions.uploaded_files import uploaded_files
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget
from bot.services import Reopener, Services
from bot.ui.control_fields import add_control
from bot.ui.modal import Modal
from generation import control_uses
from generation.catalog import Catalog
from generation.job import Job
from generation.refusal import Refused
from storage.drafts import Draft

NAME: Final = "add_control"


def modal_for(job: Job, index: int | None, catalog: Catalog, texts: Texts) -> Modal:
    """Raises Refused where nothing here reads one more."""
    nets = control_uses.addable(job.request, catalog)
    where = f"{job.id}" if index is None else f"{job.id}:{index}"
    modal = Modal(f"darkroom:{NAME}:{where}", texts("dialog_add_control", job=job.id))
    there = bool(job.request.controls)
    about = texts("add_control_again" if there else "add_control_about")
    modal.file("picture", texts("add_control_picture"), about, required=not there)
    return add_control(modal, nets, control_uses.unavailable(catalog), texts)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    job = await of_dialog(interaction, caller, NAME, where)
    target = ActionTarget(ACTIONS[NAME], number_in(where[1]) if len(where) > 1 else None)
    requests = services.requests
    attachments = uploaded_files(interaction, values, "picture")
    there_already = requests.remaking.editable(target, job).controls
    if not attachments and not there_already:
        raise Refused("add_control_unpictured")

    async def picture() -> str:
        if attachments:
            return await keep(services, caller, attachments[0])
        return there_already[-1].picture

    await ask(services, interaction, caller, target, job, values, picture)


async def ask(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    target: ActionTarget,
    job: Job,
    values: Values,
    picture: Callable[[], Awaitable[str]],
) -> None:
    """Ask for a request of a job once more, with one more picture that is followed as the fields
    say; `picture` gives its hash once nothing else is wrong. Raises Refused.
    """
    requests, catalog = services.requests, services.catalog
    base = requests.remaking.editable(target, job)
    control_uses.addable(base, catalog)
    asked, scale = asked_of(values)
    control_uses.of(asked, "", scale, catalog)
    private = caller.answers_privately(job)
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    # fetching may take longer than the three seconds that Discord waits
    await defer(interaction, private=private)
    use = control_uses.of(asked, await picture(), scale, catalog)
    request = base.with_(controls=msgspec.to_builtins((*base.controls, use)))
    origin = caller.origin(private=private, interaction=token_of(interaction))
    made = await requests.submit(request, caller, origin, target, job)
    await acknowledge(interaction, made)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    requests = interaction.client.services.requests
    job = await of_dialog(interaction, caller, NAME, draft.where)
    index = number_in(draft.where[1]) if len(draft.where) > 1 else None
    return modal_for(job, index, requests.catalog, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
