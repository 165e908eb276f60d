"""Modals. Like a button, a modal's custom_id is all it knows: one that was opened before a restart
can be handed in after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import discord

VALUE_MAX: Final = 4000
"""Discord's bound on a text field."""
TITLE_MAX: Final = 45
OPTIONS_MAX: Final = 25
"""Of a select."""
LABEL_MAX: Final = 45
WRITTEN: Final = (discord.ChannelType.text, discord.ChannelType.news)
"""Channels that messages are written to."""
PLACES: Final = (
    *WRITTEN,
    discord.ChannelType.forum,
    discord.ChannelType.voice,
    discord.ChannelType.stage_voice,
)
"""Channels that people use commands in, or in whose threads."""


class Modal(discord.ui.Modal):
    """Fields under a title; a submit handler takes what was entered, by the custom_id alone."""

    def __init__(self, custom_id: str, title: str) -> None:
        super().__init__(title=title[:TITLE_MAX], custom_id=custom_id)
        self.stop()  # it is found by its custom_id: discord.py need not keep it

    def text(
        self,
        name: str,
        label: str,
        *,
        value: str = "",
        long: bool = False,
        required: bool = False,
        placeholder: str = "",
    ) -> Self:
        """Add a field for text."""
        field: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id=name,
            style=discord.TextStyle.paragraph if long else discord.TextStyle.short,
            default=value[:VALUE_MAX] or None,
            required=required,
            max_length=VALUE_MAX,
            placeholder=placeholder[:100] or None,
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def options(
        self, name: str, label: str, names: Mapping[str, str], chosen: object = None
    ) -> Self:
        """Add a field to choose one of at most 25 values, shown by their names."""
        field: discord.ui.Select[Any] = discord.ui.Select(
            custom_id=name,
            options=[
                discord.SelectOption(label=shown[:100], value=value[:100], default=value == chosen)
                for value, shown in list(names.items())[:OPTIONS_MAX]
            ],
            required=True,
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def channels(
        self,
        name: str,
        label: str,
        chosen: list[int],
        *,
        several: bool,
        required: bool = False,
        types: Sequence[discord.ChannelType] = PLACES,
    ) -> Self:
        """Add a field to choose channels that people write in."""
        field: discord.ui.ChannelSelect[Any] = discord.ui.ChannelSelect(
            custom_id=name,
            channel_types=list(types),
            min_values=1 if required else 0,
            max_values=25 if several else 1,
            required=required,
            default_values=[
                discord.SelectDefaultValue(id=i, type=discord.SelectDefaultValueType.channel)
                for i in chosen
            ],
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def roles(self, name: str, label: str) -> Self:
        """Add a field to choose a role."""
        field: discord.ui.RoleSelect[Any] = discord.ui.RoleSelect(custom_id=name, required=True)
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self
