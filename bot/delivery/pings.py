"""Mentions the people who want it when a request of theirs is done."""

import discord
import structlog

from bot.clock import DiscordClock
from bot.delivery.failures import SENDING_ERRORS, closes_the_way
from bot.delivery.job_message import TOKEN_MARGIN
from bot.delivery.message_chores import MessageChores, Pause
from bot.locales import Texts
from generation.job import Job, JobState
from storage.errors import DatabaseError
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)


class Pings:
    """A message of its own each time: Discord tells nobody of a mention in an edited one."""

    def __init__(
        self,
        client: discord.Client,
        settings: SettingsStore,
        clock: DiscordClock,
        chores: MessageChores,
        pause: Pause,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._chores = chores
        self._pause = pause

    async def ping(self, job: Job, channel_id: int, message_id: int) -> None:
        """Mention who asked, in an answer to the message of the job, if they want it.

        A private job's owner is told where only they see it.
        """
        if job.state is JobState.CANCELLED:
            return
        try:
            if not (await self._settings.person(job.origin.user_id)).ping:
                return
            sent = await self._in_channel(job, channel_id, message_id)
            sent = sent or await self._through_token(job)
            if sent is not None and not job.origin.private:
                # known, it goes with the rest when its owner deletes the job
                await self._chores.note((sent.channel.id, sent.id), job, "ping")
        except (*SENDING_ERRORS, DatabaseError) as error:
            log.info("nobody was mentioned", job=job.id, error=str(error))

    async def _in_channel(
        self, job: Job, channel_id: int, message_id: int
    ) -> discord.Message | None:
        if job.origin.private:
            return None
        channel = self._client.get_partial_messageable(channel_id, guild_id=job.origin.guild_id)
        answered = channel.get_partial_message(message_id)
        try:
            return await channel.send(
                _text(job),
                reference=answered.to_reference(fail_if_not_exists=False),
                allowed_mentions=_only(job.origin.user_id),
                nonce=f"m{job.id}-{round(job.created_at.timestamp() * 1000):x}",
            )
        except discord.HTTPException as error:
            if not closes_the_way(error):
                raise
            return None

    async def _through_token(self, job: Job) -> discord.Message | None:
        """Where the bot itself may not write, or the answer is for one person's eyes."""
        interaction = job.origin.interaction
        if interaction is None or self._clock.now() > interaction.expires_at - TOKEN_MARGIN:
            return None
        webhook = discord.Webhook.partial(
            interaction.application_id, interaction.token, client=self._client
        )
        webhook.type = discord.WebhookType.application  # as only such may answer one person alone
        return await webhook.send(
            _text(job),
            allowed_mentions=_only(job.origin.user_id),
            ephemeral=job.origin.private,
            wait=True,
        )


def _text(job: Job) -> str:
    key = "ping_finished" if job.state is JobState.FINISHED else "ping_failed"
    return Texts(job.origin.locale)(key, who=f"<@{job.origin.user_id}>", job=job.id)


def _only(user_id: int) -> discord.AllowedMentions:
    """Of all that a text may mention, this person alone."""
    return discord.AllowedMentions(
        everyone=False, users=[discord.Object(user_id)], roles=False, replied_user=False
    )
