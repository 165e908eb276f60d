"""`/replay`: the same request to the last bit, from its number."""

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.answering import answering
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.visits import Visit, interaction_of
from generation.job import Job
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def command(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command; what has changed since is said with the result."""

    async def replay(interaction: discord.Interaction[Any], job: int) -> None:
        async with answering(interaction) as visit:
            found = await client.desk.jobs.get(job)
            if found is None or not _may_see(interaction, found, visit):
                raise Refused("job_number_unknown", job=job)
            private = found.origin.private or visit.own.private
            client.check_permissions(interaction, visit, private=private)
            origin = visit.origin(private=private, interaction=interaction_of(interaction))
            await client.acknowledge(interaction, await client.desk.replay(found, visit, origin))

    described = app_commands.describe(
        job=locale_str("the number under the picture", key="option_replay_help")
    )
    return app_commands.Command[Any, ..., None](
        name=locale_str("replay", key="command_replay"),
        description=locale_str("Draw a picture again, exactly", key="command_replay_help"),
        callback=described(replay),
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


def _may_see(interaction: discord.Interaction[Any], job: Job, visit: Visit) -> bool:
    """One's own requests, and those that were made for all to see in a channel that one sees."""
    origin, member, guild = job.origin, interaction.user, interaction.guild
    if origin.user_id == visit.person.id:
        return True
    if visit.place.guild_id is None or origin.guild_id != visit.place.guild_id or origin.private:
        return False
    if origin.channel_id == visit.place.channel_id:
        return True
    if guild is None or origin.channel_id is None or not isinstance(member, discord.Member):
        return False
    channel = guild.get_channel_or_thread(origin.channel_id)
    if channel is None or (isinstance(channel, discord.Thread) and channel.is_private()):
        return False
    return channel.permissions_for(member).view_channel
