"""`/stats`: how the bot does, for its owner."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import discord
import psutil
from discord import app_commands
from discord.app_commands import locale_str

from bot import overviews
from bot.answering import NO_MENTIONS, answering, think
from bot.commands.where import EVERYWHERE, INSTALLS
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def command(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command. Discord says who owns the application."""

    async def stats(interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction) as visit:
            if not await _owns(client, interaction.user.id):
                raise Refused("owner_only")
            await think(interaction, private=True)
            found = await client.desk.store.statistics.since(datetime.now(UTC) - timedelta(days=1))
            waiting = len(await client.desk.jobs.waiting())
            embed = overviews.stats(
                found,
                waiting=waiting,
                loaded=client.desk.worker.loaded,
                ready=client.desk.worker.ready,
                memory=_memory(),
                since=client.started_at,
                texts=visit.texts,
            )
            await interaction.followup.send(
                embed=embed, ephemeral=True, allowed_mentions=NO_MENTIONS
            )

    return app_commands.Command[Any, ..., None](
        name=locale_str("stats", key="command_stats"),
        description=locale_str("How the bot does, for its owner", key="command_stats_help"),
        callback=stats,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


async def _owns(client: "DarkroomClient", user_id: int) -> bool:
    """Whether somebody owns the application, or is of the team that does."""
    application = await client.application_info()
    if application.team is not None:
        return any(member.id == user_id for member in application.team.members)
    return application.owner.id == user_id


def _memory() -> tuple[int, int]:
    """Bytes of this process, and of the processes that it has started."""
    own = psutil.Process()
    children = 0
    for child in own.children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
    return own.memory_info().rss, children
