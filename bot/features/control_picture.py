"""*Use as control picture*: a picture of any message, whose shapes a ControlNet follows."""

from collections.abc import Mapping
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.asking import ask_parsed
from bot.interactions.contexts import message_menu
from bot.interactions.control_fields import asked_of
from bot.interactions.drafts import with_uploads
from bot.interactions.kept_pictures import picture_in, picture_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    prompt_of,
)
from bot.interactions.picture_dialogs import open_with_picture
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    check_can_post,
    responding,
)
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.control_fields import add_control
from bot.ui.modal import Modal
from generation import control_uses, prompt_flags
from generation.models import ModelKind
from generation.rules import default_model
from storage.drafts import Draft

NAME: Final = "control"
"""Of the modal."""
PICTURE: Final = "control_picture"
"""The option that the picture is."""


def command(services: Services) -> app_commands.ContextMenu:
    """The context menu."""

    async def use_as_control(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await _use_as_control(services, interaction, caller, message)

    return message_menu(locale_str("Use as control picture", key="menu_control"), use_as_control)


async def _use_as_control(
    services: Services, interaction: Interaction, caller: Caller, message: discord.Message
) -> None:
    await services.requests.shares.check_asking(caller)
    check_can_post(interaction, caller, private=caller.own.private)
    _nets(services)  # where there is none, that is said before the picture is fetched
    attachment = picture_in(message)
    await open_with_picture(
        *(services, interaction, caller, attachment, (NAME, PICTURE)),
        modal=lambda number: _modal(number, services, caller.texts),
        later=lambda number: DescribeButton.of(number, caller.texts("button_describe")),
        said=caller.texts("control_kept"),
    )


class DescribeButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:followed:(?P<number>[0-9]{1,18})",
):
    """Opens the modal for a control picture that took long to fetch."""

    @classmethod
    def of(cls, number: int, label: str) -> Self:
        """A new button for the picture of a draft, by its number."""
        style = discord.ButtonStyle.primary
        return cls(
            discord.ui.Button(style=style, label=label, custom_id=f"darkroom:followed:{number}")
        )

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask what to draw."""
        services, number = interaction.client.services, self.fields["number"]
        await picture_of(services, caller, [number], PICTURE)
        await interaction.response.send_modal(_modal(int(number), services, caller.texts))


def _modal(number: int, services: Services, texts: Texts) -> Modal:
    """What to draw along the shapes of the picture of a draft, by its number."""
    modal = Modal(f"darkroom:{NAME}:{number}", texts("dialog_control"))
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
    picture = await picture_of(services, caller, where, PICTURE)
    with_uploads(interaction, {PICTURE: picture})
    parsed = prompt_flags.parse(prompt_of(values))
    asked, scale = asked_of(values)
    fields: dict[str, Any] = {"controlnet": asked, "control_scale": scale}
    # a flag wins over a field that was filled in
    said = {*parsed.given, *(["control_scale"] if "controlnet" in parsed.given else [])}
    fields = {name: value for name, value in fields.items() if name not in said}
    fields[PICTURE] = picture
    await ask_parsed(interaction, caller, parsed, fields)


async def _reopen(interaction: Interaction, caller: Caller, _draft: Draft, number: int) -> Modal:
    return _modal(number, interaction.client.services, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}


def _nets(services: Services) -> list[str]:
    """What reads a picture for the model that is drawn with where nobody names one."""
    catalog = services.catalog
    model = catalog.get(ModelKind.CHECKPOINT, default_model(catalog, services.requests.rules))
    return control_uses.offered(model, catalog)
