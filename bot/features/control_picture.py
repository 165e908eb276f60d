"""*Use as control picture*: a picture of any message, whose shapes a ControlNet follows."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.asking import ask_parsed, named_or_chosen
from bot.interactions.contexts import message_menu
from bot.interactions.kept_pictures import FETCHED_WITHIN, keep, picture_in
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_of,
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
from bot.ui.modal import OPTIONS_MAX, Modal
from bot.ui.persistent_items import StatelessView
from generation import control_uses, prompt_flags
from generation.families.control import follows
from generation.models import ModelKind
from generation.name_search import choice_of
from generation.refusal import Refused
from generation.rules import default_model
from storage.drafts import Draft

CHOICE_MAX: Final = 100
"""Characters of a choice; Discord's bound."""


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
    nets = _nets(services)
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
    await interaction.response.send_modal(_modal(picture, nets, caller.texts))


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
        nets = _nets(interaction.client.services)
        modal = _modal(self.fields["picture"], nets, caller.texts)
        await interaction.response.send_modal(modal)


def _modal(picture: str, nets: list[str], texts: Texts) -> Modal:
    """What to draw along the shapes of a kept picture, named by its hash."""
    modal = Modal(f"darkroom:control:{picture}", texts("dialog_control"))
    modal.text("prompt", texts("dialog_prompt"), long=True, required=True)
    named = [choice_of(net, CHOICE_MAX) for net in nets]
    modal.options("controlnet", texts("field_controlnet"), {net: net for net in named}, named[0])
    if len(named) > OPTIONS_MAX:
        # a select holds no more: the others are named
        modal.text("other", texts("dialog_other_controlnet"), placeholder=named[OPTIONS_MAX])
    return modal.text("control_scale", texts("dialog_control_scale"), value="1")


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    parsed = prompt_flags.parse(prompt_of(values))
    fields: dict[str, Any] = {
        "controlnet": named_or_chosen(values, "controlnet"),
        "control_scale": number_of(values, "control_scale"),
    }
    # a flag wins over a field that was filled in
    said = {*parsed.given, *(["control_scale"] if "controlnet" in parsed.given else [])}
    fields = {name: value for name, value in fields.items() if name not in said}
    fields["control_picture"] = part_of(where, 0)
    await ask_parsed(interaction, caller, parsed, fields)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    services = interaction.client.services
    return _modal(part_of(draft.where, 0), _nets(services), caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {"control": _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {"control": _reopen}


def _nets(services: Services) -> list[str]:
    """The ControlNets that fit the model that is drawn with where nobody names one, those that are
    told the kind of a picture with each kind; that model, where it follows a picture itself.
    """
    catalog, rules = services.catalog, services.requests.rules
    model = catalog.get(ModelKind.CHECKPOINT, default_model(catalog, rules))
    if follows(model):
        return [model.name]
    fitting = (net for net in catalog.controlnets if net.fits(model))
    found = [name for net in fitting for name in control_uses.names(net)]
    if not found:
        raise Refused("no_controlnets", model=model.name)
    return found
