"""Where commands can be used, and the frames of commands that share it."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from discord import AppCommandType, app_commands
from discord.app_commands import locale_str

EVERYWHERE: Final = app_commands.AppCommandContext(
    guild=True, dm_channel=True, private_channel=True
)
SERVERS: Final = app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False)
INSTALLS: Final = app_commands.AppInstallationType(guild=True, user=True)

Callback = Callable[..., Coroutine[Any, Any, None]]
Command = app_commands.Command[Any, ..., None]
AnyCommand = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu


def slash_command(name: str, help_: str, callback: Callback) -> Command:
    """A command for servers and direct messages, whose texts have the keys `command_NAME` and
    `command_NAME_help`.
    """
    return app_commands.Command[Any, ..., None](
        name=locale_str(name, key=f"command_{name}"),
        description=locale_str(help_, key=f"command_{name}_help"),
        callback=callback,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


def message_menu(name: locale_str, callback: Callback) -> app_commands.ContextMenu:
    """An entry of the context menu of messages."""
    return app_commands.ContextMenu(
        name=name,
        callback=callback,
        type=AppCommandType.message,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )
