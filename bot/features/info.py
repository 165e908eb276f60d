"""`/info`: how a picture was made, as its file says, and the button that draws it again."""

import asyncio
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access import permissions
from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.picture_info import draft_of, kept_info, show_info
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    acknowledge,
    check_can_post,
    defer,
    responding,
)
from bot.services import Services
from generation.info.resolving import resolve


def command(services: Services) -> Command:
    """The command."""

    async def info(interaction: Interaction, file: discord.Attachment) -> None:
        async with responding(interaction) as caller:
            await show_info(services, interaction, caller, file)

    described = app_commands.describe(
        file=locale_str(
            "a PNG, JPEG, WebP or AVIF as its program saved it", key="option_info_file_help"
        )
    )
    help_ = "Read how a picture was made from its file, and draw it again"
    return slash_command("info", help_, described(info))


class DrawAgainButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:again:(?P<number>[0-9]{1,18})",
):
    """Under what a file says; only whoever asked for that sees it."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask for the picture as the file says it was made. Raises Refused, naming what is missing
        here.
        """
        services = interaction.client.services
        info = await kept_info(services, caller, int(self.fields["number"]))
        permissions.check("/info draw", caller)
        private = caller.own.private
        check_can_post(interaction, caller, private=private)
        await services.requests.shares.check_asking(caller)
        await defer(interaction, private=private)
        resolved = await asyncio.to_thread(resolve, info, services.catalog, services.hashes)
        # what is refused can be changed
        typing(interaction, draft_of(info, resolved))
        origin = caller.origin(
            private=private, interaction=token_of(interaction), ignored=info.ignored
        )
        job = await services.requests.ask_again(info, resolved, caller, origin)
        await acknowledge(interaction, job)
