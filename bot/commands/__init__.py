"""The slash commands and context menus, a file each."""

from typing import TYPE_CHECKING, Any

from discord import app_commands

from bot.commands import catalogue, history, imagine, menus, queue, replay, settings, stats
from bot.commands.mydata import MyDataCommands
from bot.commands.preset import PresetCommands

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def all_of(
    client: "DarkroomClient",
) -> list[app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu]:
    """Everything that is registered with Discord."""
    return [
        imagine.command(client),
        history.command(client),
        replay.command(client),
        queue.queue(client),
        queue.cancel(client),
        PresetCommands(client),
        settings.command(client),
        catalogue.models(client),
        catalogue.loras(client),
        MyDataCommands(client),
        stats.command(client),
        *menus.all_of(client),
    ]
