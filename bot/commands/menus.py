"""The context menus of messages: what can be done with the pictures in them."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot import dialogs, presses
from bot.actions import ACTIONS, NUMBERS, Press
from bot.answering import NO_MENTIONS, answering, think
from bot.buttons import ActionButton
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.uploads import read_attachment
from bot.visits import Visit
from generation.completion import default_model
from generation.job import Job
from generation.models import ModelKind
from generation.refusal import Refused

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient

FETCHED_WITHIN: Final = 1.5
"""Seconds; a dialog must open within three, and a picture may be far away."""
MENUS: Final = {
    "menu_reroll": ("Reroll", "reroll"),
    "menu_upscale": ("Upscale", "upscale"),
    "menu_vary": ("Vary", "vary_subtle"),
    "menu_parameters": ("Parameters", "parameters"),
}
"""Key of the name, the name in English, and the action."""

Interaction = discord.Interaction[Any]


def all_of(client: "DarkroomClient") -> list[app_commands.ContextMenu]:
    """Reroll, Upscale, Vary, Parameters, Use as control picture."""
    found = [_of_action(client, key, *names) for key, names in MENUS.items()]

    async def use_as_control(interaction: Interaction, message: discord.Message) -> None:
        async with answering(interaction) as visit:
            await _use_as_control(client, interaction, visit, message)

    found.append(_menu(locale_str("Use as control picture", key="menu_control"), use_as_control))
    return found


def _of_action(
    client: "DarkroomClient", key: str, name: str, action: str
) -> app_commands.ContextMenu:
    async def callback(interaction: Interaction, message: discord.Message) -> None:
        async with answering(interaction) as visit:
            shown = await client.desk.jobs.shown_by(message.id)
            if shown is None:
                raise Refused("message_not_ours")
            job, index = shown
            press = Press(ACTIONS[action], index)
            if press.action.on == "picture" and index is None:
                index = await _only_picture(interaction, visit, job, action)
                if index is None:
                    return
                press = Press(ACTIONS[action], index)
            await presses.by_button(client, interaction, visit, press, job)

    return _menu(locale_str(name, key=key), callback)


async def _only_picture(
    interaction: Interaction, visit: Visit, job: Job, action: str
) -> int | None:
    """The picture of a message that has one; among several the person is asked which."""
    if not job.pictures:
        raise Refused("job_unfinished" if not job.ended else "picture_gone")
    if len(job.pictures) == 1:
        return job.pictures[0].index
    view = discord.ui.View(timeout=None)
    for picture in job.pictures:
        press = Press(ACTIONS[action], picture.index)
        view.add_item(ActionButton(press, job.id, "", emoji=NUMBERS[picture.index]))
    await interaction.response.send_message(
        visit.texts("which_picture"), view=view, ephemeral=True, allowed_mentions=NO_MENTIONS
    )
    return None


async def _use_as_control(
    client: "DarkroomClient", interaction: Interaction, visit: Visit, message: discord.Message
) -> None:
    await client.desk.check_asking(visit)
    client.check_permissions(interaction, visit, private=visit.own.private)
    nets = _nets(client)
    attachment = _picture_in(message)
    keeping = asyncio.create_task(_keep(client, attachment))
    try:
        picture = await asyncio.wait_for(asyncio.shield(keeping), FETCHED_WITHIN)
    except TimeoutError:
        await think(interaction, private=True)
        view = discord.ui.View(timeout=None)
        view.add_item(ControlButton(await keeping, visit.texts("button_describe")))
        await interaction.followup.send(
            visit.texts("control_kept"), view=view, ephemeral=True, allowed_mentions=NO_MENTIONS
        )
        return
    await interaction.response.send_modal(dialogs.control(picture, nets, visit.texts))


class ControlButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"darkroom:describe:(?P<picture>[0-9a-f]{64})",
):
    """Opens the dialog for a control picture that took long to fetch."""

    def __init__(self, picture: str, label: str) -> None:
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.primary,
                label=label,
                custom_id=f"darkroom:describe:{picture}",
            )
        )
        self.picture = picture

    @classmethod
    async def from_custom_id(
        cls, _interaction: Interaction, item: Any, match: "re.Match[str]", /
    ) -> Self:
        """The button of a message from whenever."""
        return cls(match["picture"], item.label)

    async def callback(self, interaction: Interaction) -> None:
        """Ask what to draw."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            dialog = dialogs.control(self.picture, _nets(client), visit.texts)
            await interaction.response.send_modal(dialog)


def _menu(name: locale_str, callback: Any) -> app_commands.ContextMenu:
    return app_commands.ContextMenu(
        name=name,
        callback=callback,
        type=discord.AppCommandType.message,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


def _nets(client: "DarkroomClient") -> list[str]:
    """The ControlNets that fit the model that is drawn with where nobody names one."""
    catalog, rules = client.desk.catalog, client.desk.rules
    model = catalog.get(ModelKind.CHECKPOINT, default_model(catalog, rules))
    found = [net.name for net in catalog.controlnets if net.fits(model)]
    if not found:
        raise Refused("no_controlnets", model=model.name)
    return found


async def _keep(client: "DarkroomClient", attachment: discord.Attachment) -> str:
    content = await read_attachment(attachment, client.desk.rules.limits)
    return await client.desk.jobs.keep_upload(content)


def _picture_in(message: discord.Message) -> discord.Attachment:
    """The first attached picture of a message. Raises Refused where there is none."""
    for attachment in message.attachments:
        if (attachment.content_type or "").startswith("image/"):
            return attachment
    raise Refused("message_without_picture")
