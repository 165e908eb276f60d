"""`/parameters`: the generation data that a PNG carries, shown, and drawn from in a dialog."""

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.interactions.contexts import Command, slash_command
from bot.interactions.generation_data import show_data
from bot.interactions.responding import Interaction, responding
from bot.services import Services


def command(services: Services) -> Command:
    """The command."""

    async def parameters(interaction: Interaction, file: discord.Attachment) -> None:
        async with responding(interaction) as caller:
            await show_data(services, interaction, caller, file)

    described = app_commands.describe(
        file=locale_str("a PNG as its program saved it", key="option_parameters_file_help")
    )
    help_ = "Read the prompt and parameters that a PNG carries, and draw from them"
    return slash_command("parameters", help_, described(parameters))
