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
PARTS_MAX: Final = 3
"""Fields that lines are spread over, in a modal of at most five."""
LABEL_MAX: Final = 45
ABOUT_MAX: Final = 100
"""Of what stands under a label."""
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

    def lines(self, name: str, label: str, value: str, *, required: bool = False) -> Self:
        """Add a field for lines of text, or several where they are longer than one takes."""
        for number, part in enumerate(parts(value, VALUE_MAX), 1):
            field = name if number == 1 else f"{name}_{number}"
            self.text(field, label, value=part, long=True, required=required and number == 1)
        return self

    def filled(self, values: Mapping[str, str | Sequence[str]]) -> Self:
        """The same with what was entered before."""
        for item in self.children:
            field = item.component if isinstance(item, discord.ui.Label) else item
            entered = values.get(getattr(field, "custom_id", ""))
            if isinstance(field, discord.ui.TextInput) and isinstance(entered, str):
                field.default = entered[:VALUE_MAX] or None
            elif isinstance(field, discord.ui.Select | discord.ui.CheckboxGroup) and isinstance(
                entered, Sequence
            ):
                for option in field.options:
                    option.default = option.value in entered
            elif isinstance(
                field, discord.ui.ChannelSelect | discord.ui.RoleSelect | discord.ui.UserSelect
            ):
                ids = [int(i) for i in entered or () if i.isascii() and i.isdigit()]
                of = _KINDS[type(field)]
                field.default_values = [discord.SelectDefaultValue(id=i, type=of) for i in ids]
        return self

    def options(
        self,
        name: str,
        label: str,
        names: Mapping[str, str],
        chosen: object = None,
        *,
        most: int = 1,
    ) -> Self:
        """Add a field to choose one of at most 25 values, shown by their names, or up to `most`;
        `chosen` is the value that it begins with, or several in a tuple.
        """
        begins = chosen if isinstance(chosen, tuple) else (chosen,)
        field: discord.ui.Select[Any] = discord.ui.Select(
            custom_id=name,
            options=[
                discord.SelectOption(label=shown[:100], value=value[:100], default=value in begins)
                for value, shown in list(names.items())[:OPTIONS_MAX]
            ],
            max_values=min(most, len(names)),
            required=True,
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def several(
        self, name: str, label: str, names: Mapping[str, str], chosen: Sequence[str] = ()
    ) -> Self:
        """Add a field to tick some of at most ten values, shown by their names."""
        field: discord.ui.CheckboxGroup[Any] = discord.ui.CheckboxGroup(
            custom_id=name,
            options=[
                discord.CheckboxGroupOption(
                    label=shown[:100], value=value[:100], default=value in chosen
                )
                for value, shown in names.items()
            ],
            min_values=0,
            required=False,
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

    def people(self, name: str, label: str, chosen: list[int], *, required: bool = False) -> Self:
        """Add a field to choose up to 25 people."""
        field: discord.ui.UserSelect[Any] = discord.ui.UserSelect(
            custom_id=name,
            min_values=1 if required else 0,
            max_values=25,
            required=required,
            default_values=[
                discord.SelectDefaultValue(id=i, type=discord.SelectDefaultValueType.user)
                for i in chosen
            ],
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def roles(self, name: str, label: str) -> Self:
        """Add a field to choose a role, or none."""
        field: discord.ui.RoleSelect[Any] = discord.ui.RoleSelect(
            custom_id=name, min_values=0, required=False
        )
        self.add_item(discord.ui.Label(text=label[:LABEL_MAX], component=field))
        return self

    def file(
        self, name: str, label: str, about: str, *, required: bool = False, most: int = 1
    ) -> Self:
        """Add a field to upload a file, or up to `most`."""
        field: discord.ui.FileUpload[Any] = discord.ui.FileUpload(
            custom_id=name, min_values=1 if required else 0, max_values=most, required=required
        )
        text, about = label[:LABEL_MAX], about[:ABOUT_MAX]
        self.add_item(discord.ui.Label(text=text, description=about, component=field))
        return self


_KINDS: Final[Mapping[type[discord.ui.Item[Any]], discord.SelectDefaultValueType]] = {
    discord.ui.ChannelSelect: discord.SelectDefaultValueType.channel,
    discord.ui.RoleSelect: discord.SelectDefaultValueType.role,
    discord.ui.UserSelect: discord.SelectDefaultValueType.user,
}


def parts(text: str, most: int) -> list[str]:
    """Lines in as few texts as they need, none of more than so many characters."""
    found = [""]
    for line in text.split("\n"):
        longer = f"{found[-1]}\n{line}" if found[-1] else line
        if len(longer) <= most or not found[-1]:
            found[-1] = longer
        else:
            found.append(line)
    return found[:PARTS_MAX]
