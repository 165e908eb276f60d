"""Where commands can be used."""

from typing import Final

from discord import app_commands

EVERYWHERE: Final = app_commands.AppCommandContext(
    guild=True, dm_channel=True, private_channel=True
)
SERVERS: Final = app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False)
INSTALLS: Final = app_commands.AppInstallationType(guild=True, user=True)
