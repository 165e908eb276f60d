"""*Use as control picture*: a picture of any message, whose shapes a ControlNet follows."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.asking import ask_parsed
from bot.interactions.contexts import message_menu
from bot.interactions.control_fields import asked_of
from bot.interactions.kept_pictures import FETCHED_WITHIN, keep, picture_in
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    part_of,
    prompt_of,
)
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    answer,
    check_can_post,
    defer,
    responding,
)
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.control_fields import add_control
from bot.ui.modal import Modal
from bot.ui.persistent_items import StatelessView
from generation import control_uses, prompt_flags
from generation.models import ModelKind
from generation.rules import default_model
from storage.drafts import Draft


def command(services: Services) -> app_commands.ContextMenu:
    """The context menu."""

    async def use_as_control(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await _use_as_control(services, interaction, caller, message)

    return message_menu(locale_str("Use as control picture", key="menu_control"), use_as_control)


async def _use_as_control(
    services: Services, interaction: Interaction, caller: Caller, message: discord.Message
) -> None:
    await services.requests.check_asking(caller)
    check_can_post(interaction, caller, private=caller.own.private)
    _nets(services)  # where there is none, that is said before the picture is fetched
    attachment = picture_in(message)
    keeping = asyncio.create_task(keep(services, caller, attachment))
    try:
        picture = await asyncio.wait_for(asyncio.shield(keeping), FETCHED_WITHIN)
    except TimeoutError:
        await defer(interaction, private=True)
        view = StatelessView()
        view.add_item(DescribeButton.of(await keeping, caller.texts("button_describe")))
        await answer(interaction, content=caller.texts("control_kept"), view=view)
        return
    await interaction.response.send_modal(_modal(picture, services, caller.texts))


class DescribeButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:describe:(?P<picture>[0-9a-f]{64})",
):
    """Opens the modal for a control picture that took long to fetch."""

    @classmethod
    def of(cls, picture: str, label: str) -> Self:
        """A new button for a kept picture, named by its hash."""
        style = discord.ButtonStyle.primary
        return cls(
            discord.ui.Button(style=style, label=label, custom_id=f"darkroom:describe:{picture}")
        )

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask what to draw."""
        modal = _modal(self.fields["picture"], interaction.client.services, caller.texts)
        await interaction.response.send_modal(modal)


def _modal(picture: str, services: Services, texts: Texts) -> Modal:
    """What to draw along the shapes of a kept picture, named by its hash."""
    modal = Modal(f"darkroom:control:{picture}", texts("dialog_control"))
    modal.text("prompt", texts("dialog_prompt"), long=True, required=True)
    lacking = control_uses.unavailable(services.catalog)
    return add_control(modal, _nets(services), lacking, texts)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    parsed = prompt_flags.parse(prompt_of(values))
    asked, scale = asked_of(values)
    fields: dict[str, Any] = {"controlnet": asked, "control_scale": scale}
    # a flag wins over a field that was filled in
    said = {*parsed.given, *(["control_scale"] if "controlnet" in parsed.given else [])}
    fields = {name: value for name, value in fields.items() if name not in said}
    fields["control_picture"] = part_of(where, 0)
    await ask_parsed(interaction, caller, parsed, fields)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    services = interaction.client.services
    return _modal(part_of(draft.where, 0), services, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {"control": _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {"control": _reopen}


def _nets(services: Services) -> list[str]:
    """What reads a picture for the model that is drawn with where nobody names one."""
    catalog = services.catalog
    model = catalog.get(ModelKind.CHECKPOINT, default_model(catalog, services.requests.rules))
    return control_uses.offered(model, catalog)
