"""`/control`: the control picture that a preprocessor makes of a picture, without drawing."""

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.interactions.autocomplete import choices
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.kept_pictures import keep
from bot.interactions.responding import (
    Interaction,
    acknowledge,
    check_can_post,
    defer,
    responding,
)
from bot.services import Services
from generation import control_uses
from generation.preprocessors import NONE, PREPROCESSORS


def command(services: Services) -> Command:
    """The command."""

    async def control(
        interaction: Interaction,
        picture: discord.Attachment,
        preprocessor: str,
        private: bool | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            hidden = caller.own.private if private is None else private
            use = control_uses.preview_of(preprocessor, services.catalog)
            check_can_post(interaction, caller, private=hidden)
            await services.requests.shares.check_asking(caller)
            await defer(interaction, private=hidden)
            kept = await keep(services, caller, picture)
            size = await services.store.jobs.upload_size(kept)
            origin = caller.origin(private=hidden, interaction=token_of(interaction))
            job = await services.requests.preview_control(
                control_uses.reading(use, kept), size, caller, origin
            )
            await acknowledge(interaction, job)

    async def complete(_: Interaction, typed: str) -> list[Choice[str]]:
        return choices([name for name in PREPROCESSORS if name != NONE], typed)

    described = app_commands.describe(
        picture=locale_str("a picture of your own", key="option_upscale_picture_help"),
        preprocessor=locale_str(
            "what makes the control picture, as canny or canny:a=50:b=120",
            key="option_preprocessor_help",
        ),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    completed = app_commands.autocomplete(preprocessor=complete)
    return slash_command(
        "control",
        "Show the control picture that a preprocessor makes, without drawing",
        completed(described(control)),
    )
