"""What somebody may do where a request is shown, as Discord tells it."""

from collections.abc import Sequence

import discord

from bot.access import permissions
from bot.access.caller import Caller
from bot.access.permissions import NOWHERE, Rights
from bot.interactions.modal_submit import number_in, part_of
from bot.interactions.responding import Interaction
from bot.services import Services
from generation.job import Job, Origin
from generation.refusal import Refused


async def job_by_number(
    services: Services, interaction: Interaction, caller: Caller, act: str, number: int
) -> Job:
    """The request of that number. Raises Refused for whoever may not do that with it."""
    job = await services.store.jobs.get(number)
    if job is None:
        raise Refused("job_number_unknown", job=number)
    there = await Sight(interaction, caller).where_asked(job)
    await services.requests.check(act, caller, job, there)
    return job


def at_message(caller: Caller, *, ephemeral: bool) -> Rights:
    """What somebody may do with the request that a message in front of them shows.

    What only one person sees moves nobody else's rights.
    """
    if ephemeral:
        return NOWHERE
    return Rights(reads=True, moderates=caller.person.moderator, published=True)


async def at_component(interaction: Interaction, caller: Caller, job: Job) -> Rights:
    """What somebody may do with the request of a button or modal that they used."""
    message = interaction.message
    if message is None:
        return await Sight(interaction, caller).where_asked(job)
    if not message.flags.ephemeral:
        return at_message(caller, ephemeral=False)
    # such as the question which picture, after a message's menu, or what More… shows
    metadata = message.interaction_metadata
    target = None
    if metadata is not None:
        target = metadata.target_message_id or metadata.interacted_message_id
    if target is not None:
        shown = await interaction.client.services.store.jobs.shown_by(target)
        if shown is not None and shown[0].id == job.id:
            return at_message(caller, ephemeral=False)
    return await Sight(interaction, caller).where_asked(job)


async def at_menu_modal(
    interaction: Interaction, caller: Caller, job: Job, message: tuple[int, int] | None
) -> Rights:
    """What somebody may do with the request of the message, by its channel and itself, whose menu
    opened a modal: the modal knows of no message.
    """
    if message is not None and message[0] == caller.place.channel_id:
        shown = await interaction.client.services.store.jobs.shown_by(message[1])
        if shown is not None and shown[0].id == job.id:
            return at_message(caller, ephemeral=False)
    return await at_component(interaction, caller, job)


async def of_dialog(
    interaction: Interaction, caller: Caller, act: str, where: Sequence[str]
) -> Job:
    """The request that a dialog's custom_id names first. Raises Refused for whoever may not do that
    with it.
    """
    requests = interaction.client.services.requests
    job = await requests.jobs.get(number_in(part_of(where, 0)))
    if job is None:
        raise Refused("job_unknown")
    await requests.check(act, caller, job, await at_component(interaction, caller, job))
    return job


class Sight:
    """What the person of an interaction may do in the channels where requests were made.

    Discord is asked at most once about each channel.
    """

    def __init__(self, interaction: Interaction, caller: Caller) -> None:
        self._user = interaction.user
        self._guild = interaction.guild
        self._caller = caller
        self._known: dict[int, Rights] = {}

    async def where_asked(self, job: Job) -> Rights:
        """What they may do where a request was made."""
        origin, place = job.origin, self._caller.place
        # nobody else's business, so Discord need not be asked
        if origin.private or origin.channel_id is None or origin.guild_id != place.guild_id:
            return NOWHERE
        if origin.channel_id == place.channel_id:
            return Rights(reads=True, moderates=self._caller.person.moderator)
        if origin.channel_id not in self._known:
            self._known[origin.channel_id] = await self._look(origin, origin.channel_id)
        return self._known[origin.channel_id]

    async def reads(self, job: Job) -> bool:
        """Whether they may read a request."""
        return permissions.allows("/history tree", self._caller, job, await self.where_asked(job))

    async def _look(self, origin: Origin, channel_id: int) -> Rights:
        guild, member = self._guild, self._user
        if origin.guild_id is None or guild is None or not isinstance(member, discord.Member):
            return NOWHERE
        try:
            channel = guild.get_channel_or_thread(channel_id)
            if channel is None:
                # an archived thread
                channel = await guild.fetch_channel(channel_id)
            granted = channel.permissions_for(member)
            if isinstance(channel, discord.Thread) and channel.is_private():
                await _check_member(channel, member, granted)
        except (discord.HTTPException, discord.ClientException, discord.InvalidData):
            return NOWHERE
        reads = granted.view_channel and granted.read_message_history
        return Rights(reads=reads, moderates=reads and granted.manage_messages)


async def _check_member(
    thread: discord.Thread, member: discord.Member, granted: discord.Permissions
) -> None:
    """Raise discord.NotFound for whoever is not let into a private thread."""
    if not granted.manage_threads:
        await thread.fetch_member(member.id)
