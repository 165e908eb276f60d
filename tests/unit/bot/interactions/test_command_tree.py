"""More context menus than discord.py itself lets one have."""

import discord
import pytest
from discord import app_commands
from discord.app_commands import ContextMenu

from bot.interactions.command_tree import MENUS_MAX, RoomyTree


async def nothing(_interaction: discord.Interaction, _message: discord.Message) -> None:
    """Does nothing."""


async def test_as_many_menus_as_discord_takes_and_no_more() -> None:
    tree = RoomyTree(discord.Client(intents=discord.Intents.none()))
    for number in range(MENUS_MAX):
        tree.add_command(ContextMenu(name=f"Menu {number}", callback=nothing))
    tree.add_command(ContextMenu(name="Menu 3", callback=nothing), override=True)
    with pytest.raises(app_commands.CommandAlreadyRegistered):
        tree.add_command(ContextMenu(name="Menu 3", callback=nothing))
    with pytest.raises(app_commands.CommandLimitReached):
        tree.add_command(ContextMenu(name="One too many", callback=nothing))
    tree.copy_global_to(guild=discord.Object(5))
    of_guild = tree.get_commands(guild=discord.Object(5))
    assert [menu.name for menu in of_guild] == [f"Menu {n}" for n in range(MENUS_MAX)]
    assert len(tree.get_commands()) == MENUS_MAX
