"""`/settings`: what holds in this server, and for oneself, shown and changed in one panel."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot import panel, policy
from bot.answering import NO_MENTIONS, answering
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.panel import SETTINGS, Setting
from bot.visits import Visit
from generation.refusal import Refused

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient


def command(_client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command."""

    async def settings(interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction) as visit:
            await interaction.response.send_message(
                view=panel.shown(visit), ephemeral=True, allowed_mentions=NO_MENTIONS
            )

    return app_commands.Command[Any, ..., None](
        name=locale_str("settings", key="command_settings"),
        description=locale_str("See and change settings", key="command_settings_help"),
        callback=settings,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


class SettingsMenu(
    discord.ui.DynamicItem[discord.ui.Select[Any]],
    template=r"darkroom:settings:(?P<scope>guild|person)",
):
    """The panel's menu of the settings that can be changed."""

    def __init__(self, scope: str, menu: discord.ui.Select[Any]) -> None:
        super().__init__(menu)
        self.scope = scope

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, match: "re.Match[str]", /
    ) -> Self:
        """The menu of a panel from whenever."""
        return cls(match["scope"], item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Switch a setting that is yes or no; ask for the value of any other."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            setting = _setting(f"{self.scope}.{self.item.values[0]}")
            _check(setting, visit)
            if setting.kind == "toggle":
                await _change(client, interaction, visit, setting, {})
            else:
                await interaction.response.send_modal(panel.dialog(setting, visit))


async def take(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A handed-in dialog of one setting."""
    setting = _setting(".".join(where))
    _check(setting, visit)
    await _change(client, interaction, visit, setting, values)


async def _change(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    setting: Setting,
    values: Mapping[str, Any],
) -> None:
    desk, new = client.desk, panel.changed(setting, visit, values)
    if setting.name == "picture_check" and new != "off" and not client.delivery.prints.checked:
        raise Refused("picture_check_none")
    guild_id = visit.place.guild_id
    if setting.kind in ("preset", "channel_preset") and guild_id is not None:
        names = new.values() if isinstance(new, dict) else [new] if new else []
        for name in names:
            await desk.store.presets.get(guild_id, name)
    if setting.scope == "guild":
        assert guild_id is not None
        guild = await desk.settings.change_guild(guild_id, **{setting.name: new})
        visit = dataclasses.replace(visit, guild=guild)
    else:
        own = await desk.settings.change_person(visit.person.id, **{setting.name: new})
        visit = dataclasses.replace(visit, own=own)
    await interaction.response.edit_message(view=panel.shown(visit), allowed_mentions=NO_MENTIONS)


def _setting(key: str) -> Setting:
    if key not in SETTINGS:
        raise Refused("setting_gone")
    return SETTINGS[key]


def _check(setting: Setting, visit: Visit) -> None:
    if setting.scope == "guild":
        policy.check_manager(visit.person)
