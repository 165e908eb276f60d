"""*Add as control picture*: a picture of any message that a request of somebody's follows, too."""

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.features.actions import control_modal
from bot.interactions.contexts import message_menu
from bot.interactions.drafts import with_uploads
from bot.interactions.kept_pictures import picture_in, picture_of
from bot.interactions.modal_submit import SubmitHandler, Values, text_of
from bot.interactions.picture_dialogs import open_with_picture
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    check_can_post,
    responding,
)
from bot.interactions.sight import job_by_number
from bot.requests.actions import ACTIONS, ActionTarget
from bot.services import Reopener, Services
from bot.ui.control_fields import add_control
from bot.ui.modal import Modal
from generation import control_uses
from generation.job import Job
from generation.refusal import Refused
from storage.drafts import Draft
from storage.history import Query

NAME: Final = "add_control_of"
PICTURE: Final = "control_picture"
"""The option that the picture is."""


def command(services: Services) -> app_commands.ContextMenu:
    """The context menu."""

    async def add_as_control(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await services.requests.shares.check_asking(caller)
            check_can_post(interaction, caller, private=caller.own.private)
            job = await _newest(services, caller)
            attachment = picture_in(message)
            await open_with_picture(
                *(services, interaction, caller, attachment, (NAME, PICTURE)),
                modal=lambda number: _modal(number, job, services, caller),
                later=lambda number: GoOnButton.of(number, caller.texts("button_add_control")),
                said=caller.texts("add_control_kept"),
            )

    name = locale_str("Add as control picture", key="menu_add_control")
    return message_menu(name, add_as_control)


class GoOnButton(
    RespondingItem[discord.ui.Button[Any]],
    template=rf"darkroom:{NAME}:(?P<number>[0-9]{{1,18}})",
):
    """Opens the modal for a picture that took long to fetch."""

    @classmethod
    def of(cls, number: int, label: str) -> Self:
        """A new button for the picture of a draft, by its number."""
        style = discord.ButtonStyle.primary
        return cls(
            discord.ui.Button(style=style, label=label, custom_id=f"darkroom:{NAME}:{number}")
        )

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask which request follows it, and how."""
        services, number = interaction.client.services, self.fields["number"]
        await picture_of(services, caller, [number], PICTURE)
        modal = _modal(int(number), await _newest(services, caller), services, caller)
        await interaction.response.send_modal(modal)


async def _newest(services: Services, caller: Caller) -> Job:
    """The newest of somebody's requests that may follow one more picture. Raises Refused."""
    page = await services.store.history.page(caller.person.id, Query())
    target = ActionTarget(ACTIONS[control_modal.NAME])
    for job in page.jobs:
        if services.requests.remaking.accepts(target, job):
            return job
    raise Refused("add_control_none")


def _modal(number: int, job: Job, services: Services, caller: Caller) -> Modal:
    texts, catalog = caller.texts, services.catalog
    nets = control_uses.addable(job.request, catalog)
    modal = Modal(f"darkroom:{NAME}:{number}", texts("menu_add_control"))
    modal.text("job", texts("add_control_job"), value=str(job.id), required=True)
    return add_control(modal, nets, control_uses.unavailable(catalog), texts)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    picture = await picture_of(services, caller, where, PICTURE)
    with_uploads(interaction, {PICTURE: picture})
    typed = text_of(values, "job").removeprefix("#")
    if not re.fullmatch(r"[0-9]{1,18}", typed):
        raise Refused("not_a_number", option="job", value=typed[:50])
    job = await job_by_number(services, interaction, caller, control_modal.NAME, int(typed))
    target = ActionTarget(ACTIONS[control_modal.NAME])

    async def kept() -> str:
        return picture

    await control_modal.ask(services, interaction, caller, target, job, values, kept)


async def _reopen(interaction: Interaction, caller: Caller, _draft: Draft, number: int) -> Modal:
    services = interaction.client.services
    return _modal(number, await _newest(services, caller), services, caller)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}
