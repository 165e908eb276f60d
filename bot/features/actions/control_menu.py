"""*Add as control picture*: a picture of any message that a request of somebody's follows, too."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.features.actions import control_modal
from bot.interactions.contexts import message_menu
from bot.interactions.kept_pictures import FETCHED_WITHIN, keep, picture_in
from bot.interactions.modal_submit import SubmitHandler, Values, part_of, text_of
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    answer,
    check_can_post,
    defer,
    responding,
)
from bot.interactions.sight import job_by_number
from bot.requests.actions import ACTIONS, ActionTarget
from bot.services import Reopener, Services
from bot.ui.control_fields import add_control
from bot.ui.modal import Modal
from bot.ui.persistent_items import StatelessView
from generation import control_uses
from generation.job import Job
from generation.refusal import Refused
from storage.drafts import Draft
from storage.history import Query

NAME: Final = "add_control_of"


def command(services: Services) -> app_commands.ContextMenu:
    """The context menu."""

    async def add_as_control(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await services.requests.check_asking(caller)
            check_can_post(interaction, caller, private=caller.own.private)
            job = await _newest(services, caller)
            keeping = asyncio.create_task(keep(services, caller, picture_in(message)))
            try:
                picture = await asyncio.wait_for(asyncio.shield(keeping), FETCHED_WITHIN)
            except TimeoutError:
                await defer(interaction, private=True)
                view = StatelessView()
                view.add_item(GoOnButton.of(await keeping, caller.texts("button_add_control")))
                await answer(interaction, content=caller.texts("add_control_kept"), view=view)
                return
            await interaction.response.send_modal(_modal(picture, job, services, caller))

    name = locale_str("Add as control picture", key="menu_add_control")
    return message_menu(name, add_as_control)


class GoOnButton(
    RespondingItem[discord.ui.Button[Any]],
    template=rf"darkroom:{NAME}:(?P<picture>[0-9a-f]{{64}})",
):
    """Opens the modal for a picture that took long to fetch."""

    @classmethod
    def of(cls, picture: str, label: str) -> Self:
        """A new button for a kept picture, named by its hash."""
        style = discord.ButtonStyle.primary
        return cls(
            discord.ui.Button(style=style, label=label, custom_id=f"darkroom:{NAME}:{picture}")
        )

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask which request follows it, and how."""
        services = interaction.client.services
        job = await _newest(services, caller)
        modal = _modal(self.fields["picture"], job, services, caller)
        await interaction.response.send_modal(modal)


async def _newest(services: Services, caller: Caller) -> Job:
    """The newest of somebody's requests that may follow one more picture. Raises Refused."""
    page = await services.store.history.page(caller.person.id, Query())
    target = ActionTarget(ACTIONS[control_modal.NAME])
    for job in page.jobs:
        if services.requests.remaking.accepts(target, job):
            return job
    raise Refused("add_control_none")


def _modal(picture: str, job: Job, services: Services, caller: Caller) -> Modal:
    texts, catalog = caller.texts, services.catalog
    nets = control_uses.addable(job.request, catalog)
    modal = Modal(f"darkroom:{NAME}:{picture}", texts("menu_add_control"))
    modal.text("job", texts("add_control_job"), value=str(job.id), required=True)
    return add_control(modal, nets, control_uses.unavailable(catalog), texts)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    typed, picture = text_of(values, "job").removeprefix("#"), part_of(where, 0)
    if not re.fullmatch(r"[0-9]{1,18}", typed):
        raise Refused("not_a_number", option="job", value=typed[:50])
    job = await job_by_number(services, interaction, caller, control_modal.NAME, int(typed))
    target = ActionTarget(ACTIONS[control_modal.NAME])

    async def kept() -> str:
        return picture

    await control_modal.ask(services, interaction, caller, target, job, values, kept)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    services = interaction.client.services
    return _modal(part_of(draft.where, 0), await _newest(services, caller), services, caller)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
