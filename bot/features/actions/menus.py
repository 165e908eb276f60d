"""The context menus of messages: what can be done with the pictures in them."""

from typing import Final

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.features.actions import redraw_upload
from bot.features.actions.handlers import perform
from bot.features.actions.reply import InteractionReply
from bot.interactions.contexts import message_menu
from bot.interactions.describing import describe_attachment
from bot.interactions.drafts import typing
from bot.interactions.enlarging import enlarge_attachment
from bot.interactions.picture_info import show_info
from bot.interactions.responding import Interaction, responding
from bot.interactions.shown_jobs import shown_by
from bot.interactions.sight import at_message
from bot.requests.actions import ACTIONS, NUMBERS, ActionTarget
from bot.services import Services
from bot.ui.action_buttons import ActionButton
from bot.ui.persistent_items import StatelessView
from generation.job import Job
from generation.refusal import Refused

MENUS: Final = {
    "menu_reroll": ("Reroll", "reroll"),
    "menu_upscale": ("Upscale", "upscale"),
    "menu_faces": ("Restore faces", "faces"),
    "menu_cutout": ("Remove background", "cutout"),
    "menu_redraw": ("Draw a part anew…", "redraw"),
    "menu_vary": ("Vary", "vary_subtle"),
    "menu_describe": ("Describe", "describe"),
    "menu_parameters": ("Parameters", "parameters"),
}
"""Key of the name, the name in English, and the action."""
ON_ANY_PICTURE: Final = frozenset(("upscale", "faces", "cutout"))
"""What is done to others' pictures, too."""


def commands(services: Services) -> list[app_commands.ContextMenu]:
    """Reroll, Upscale, Vary, Describe, Parameters."""
    return [_of_action(services, key, *names) for key, names in MENUS.items()]


def _of_action(services: Services, key: str, name: str, action: str) -> app_commands.ContextMenu:
    async def callback(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            ours = message.author == interaction.client.user
            shown = await shown_by(services, message.id, ours=ours)
            if shown is None and not ours and action == "parameters":
                attachment = _picture_in(message, "message_not_ours")
                await show_info(services, interaction, caller, attachment)
                return
            if shown is None and action in ON_ANY_PICTURE:
                attachment = _picture_in(message, "message_without_picture")
                wish = ACTIONS[action].wish
                await enlarge_attachment(services, interaction, caller, attachment, wish, action)
                return
            if shown is None and action == "redraw":
                attachment = _picture_in(message, "message_without_picture")
                await redraw_upload.open_modal(services, interaction, caller, attachment)
                return
            if shown is None and action == "describe":
                attachment = _picture_in(message, "message_without_picture")
                await describe_attachment(services, interaction, caller, attachment)
                return
            if shown is None:
                raise Refused("message_not_ours")
            job, index = shown
            target = ActionTarget(ACTIONS[action], index)
            if target.action.on == "picture" and index is None:
                index = await _only_picture(interaction, caller, job, action)
                if index is None:
                    return
                target = ActionTarget(ACTIONS[action], index)
            there = at_message(caller, ephemeral=message.flags.ephemeral)
            if target.action.asks:
                typing(interaction, job)
            await perform(services, InteractionReply(interaction, caller), target, job, there)

    return message_menu(locale_str(name, key=key), callback)


def _picture_in(message: discord.Message, code: str) -> discord.Attachment:
    """The first PNG of a message that others have posted, or else its first picture: most programs
    write PNG.

    Raises Refused with that code where it has none.
    """
    for kind in ("image/png", "image/"):
        for attachment in message.attachments:
            if (attachment.content_type or "").startswith(kind):
                return attachment
    raise Refused(code)


async def _only_picture(
    interaction: Interaction, caller: Caller, job: Job, action: str
) -> int | None:
    """The picture of a message that has one; among several the person is asked which."""
    if not job.pictures:
        raise Refused("message_not_ours" if job.ended else "job_unfinished")
    every = [ActionTarget(ACTIONS[action], picture.index) for picture in job.pictures]
    accepts = interaction.client.services.requests.remaking.accepts
    found = [target for target in every if accepts(target, job)]
    if len(every) == 1 or not found:
        # where none is accepted, the first says why
        return every[0].index
    view = StatelessView()
    for target in found:
        emoji = NUMBERS[target.index or 0]
        view.add_item(ActionButton.of(target, job.id, "", emoji=emoji))
    await interaction.response.send_message(
        caller.texts("which_picture"), view=view, ephemeral=True
    )
    return None
