"""`/replay`: the same request to the last bit, from its number."""

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, acknowledge, check_can_post, responding
from bot.services import Services
from generation.job import Job
from generation.refusal import Refused


def command(services: Services) -> Command:
    """The command; what has changed since is said with the result."""

    async def replay(interaction: Interaction, job: int) -> None:
        async with responding(interaction) as caller:
            found = await services.store.jobs.get(job)
            if found is None or not _may_see(interaction, found, caller):
                raise Refused("job_number_unknown", job=job)
            private = found.origin.private or caller.own.private
            check_can_post(interaction, caller, private=private)
            origin = caller.origin(private=private, interaction=token_of(interaction))
            await acknowledge(interaction, await services.requests.replay(found, caller, origin))

    described = app_commands.describe(
        job=locale_str("the number under the picture", key="option_replay_help")
    )
    return slash_command("replay", "Draw a picture again, exactly", described(replay))


def _may_see(interaction: Interaction, job: Job, caller: Caller) -> bool:
    """One's own requests, and those that were made for all to see in a channel that one sees."""
    origin, member, guild = job.origin, interaction.user, interaction.guild
    if origin.user_id == caller.person.id:
        return True
    if caller.place.guild_id is None or origin.guild_id != caller.place.guild_id or origin.private:
        return False
    if origin.channel_id == caller.place.channel_id:
        return True
    if guild is None or origin.channel_id is None or not isinstance(member, discord.Member):
        return False
    channel = guild.get_channel_or_thread(origin.channel_id)
    if channel is None or (isinstance(channel, discord.Thread) and channel.is_private()):
        return False
    return channel.permissions_for(member).view_channel
