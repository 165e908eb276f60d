"""`/describe`: what a picture shows, in tags, in a sentence, or both."""

from collections.abc import Mapping
from typing import Final

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.interactions.contexts import Command, slash_command
from bot.interactions.describing import describe_attachment
from bot.interactions.responding import Interaction, responding
from bot.services import Services
from generation.request_parts import DescriptionStyle

STYLES: Final[Mapping[DescriptionStyle, tuple[str, str]]] = {
    "tags": ("tags", "style_tags"),
    "caption": ("a sentence", "style_caption"),
    "both": ("both", "style_both"),
}
"""In English, and the key of the text."""


def command(services: Services) -> Command:
    """The command."""

    async def describe(
        interaction: Interaction,
        picture: discord.Attachment,
        style: Choice[str] | None = None,
        private: bool | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            value = style.value if style is not None else None
            wanted = next((known for known in STYLES if known == value), None)
            await describe_attachment(services, interaction, caller, picture, wanted, private)

    described = app_commands.describe(
        picture=locale_str("the picture", key="option_described_picture_help"),
        style=locale_str("tags, a sentence, or both", key="option_style_help"),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    chosen = app_commands.choices(
        style=[
            Choice(name=locale_str(name, key=key), value=str(value))
            for value, (name, key) in STYLES.items()
        ]
    )
    return slash_command("describe", "Say what a picture shows", chosen(described(describe)))
