"""The commands, with as many context menus as Discord takes: discord.py 2.7 stops at five."""

from typing import Any, Final, TypeVar

import discord
from discord import app_commands
from discord.app_commands import CommandLimitReached, ContextMenu

ClientT = TypeVar("ClientT", bound=discord.Client)
MENUS_MAX: Final = 15
"""Discord's bound on an application's context menus of messages, and on those of users."""


class RoomyTree(app_commands.CommandTree[ClientT]):
    """A tree of commands whose context menus are for all servers."""

    def add_command(self, command: Any, /, *, override: bool = False, **where: Any) -> None:
        """As discord.py has it. Raises CommandLimitReached, CommandAlreadyRegistered."""
        if not isinstance(command, ContextMenu):
            super().add_command(command, override=override, **where)
            return
        key = (command.name, None, command.type.value)
        alike = [menu for menu in self._context_menus if menu[1:] == key[1:] and menu != key]
        if key in self._context_menus and not override:
            raise app_commands.CommandAlreadyRegistered(command.name, None)
        if len(alike) >= MENUS_MAX:
            kind = discord.AppCommandType(command.type.value)
            raise CommandLimitReached(guild_id=None, limit=MENUS_MAX, type=kind)
        self._context_menus[key] = command

    def copy_global_to(self, *, guild: discord.abc.Snowflake) -> None:
        """As discord.py has it."""
        menus = self._context_menus
        self._context_menus = {}
        super().copy_global_to(guild=guild)
        own: dict[tuple[str, int | None, int], ContextMenu] = {
            (name, guild.id, kind): menu for (name, at, kind), menu in menus.items() if at is None
        }
        self._context_menus = {**menus, **own}
