"""Mentions the people who want it when a request of theirs is done: once, and in one place.

A mention in a channel is looked for where it may have been posted before. One through an
interaction's token is not: it has no nonce, a webhook lists no messages, and what only one person
sees nobody else can find. Where the answer to such a one was lost it is not sent again: two of them
are taken for two results, while a result without one is still where its owner looks for it. There
it is said that Discord has not confirmed the mention.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import discord
import structlog

from bot.background import BackgroundTasks
from bot.clock import DiscordClock
from bot.delivery.audit import Audit
from bot.delivery.failures import RETRIES, SENDING_ERRORS, may_pass, outcome_unknown
from bot.delivery.job_message import LOOKED_THROUGH, ORIGINAL, TOKEN_MARGIN
from bot.delivery.message_chores import MessageChores, Pause
from bot.delivery.sending_once import OutcomeUnknownError, send_once
from bot.locales import Texts
from bot.ui.formatting import cut
from generation.job import Job, JobState
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.owed import Owed
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)

SENT: Final = "ping_sent"
"""Kind of what is owed: a mention that may have gone through a token."""


@dataclass
class _Mention:
    """How far the mention of one job's owner is."""

    job: Job
    owed: Owed
    posted: bool
    """Whether it may have been posted where it can be looked for."""
    sent: bool
    """Whether it may have gone through the token, and was not looked for since."""


class Pings:
    """A message of its own each time: Discord tells nobody of a mention in an edited one."""

    def __init__(
        self,
        client: discord.Client,
        settings: SettingsStore,
        clock: DiscordClock,
        jobs: JobStore,
        tasks: BackgroundTasks,
        chores: MessageChores,
        pause: Pause,
        audit: Audit,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._jobs = jobs
        self._tasks = tasks
        self._chores = chores
        self._under_way: set[int] = set()
        """The numbers of the jobs whose owners are being told."""
        self._pause = pause
        self._audit = audit

    async def wanted(self, job: Job) -> bool:
        """Whether who asked wants to be told. Raises storage.errors.DatabaseError."""
        if job.state is JobState.CANCELLED:
            return False
        return (await self._settings.person(job.origin.user_id)).ping

    def ping(self, job: Job, owed: Owed, *, posted: bool = False) -> None:
        """Mention who asked, in an answer to the message of the job; it is noted that it is owed.

        A private job's owner is told where only they see it. `posted` says that an earlier process
        may have done so: then its message is looked for first.
        """
        if job.id not in self._under_way:
            self._under_way.add(job.id)
            task = self._tasks.spawn(self._ping(_Mention(job, owed, posted, owed.kind == SENT)))
            task.add_done_callback(lambda _: self._under_way.discard(job.id))

    async def _ping(self, mention: _Mention) -> None:
        job = mention.job
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                if not mention.posted or not await self._jobs.messages_of(job.id, "ping"):
                    await self._mention(mention)
                break
            except (*SENDING_ERRORS, DatabaseError) as error:
                # Discord forgets nonces after some minutes
                mention.posted |= outcome_unknown(error)
                log.info("a mention is tried again", job=job.id, error=str(error), seconds=wait)
                await self._pause(wait)
        await self._chores.settle(mention.owed)

    async def _mention(self, mention: _Mention) -> None:
        """In the first place that takes it. Raises what may pass."""
        job = mention.job
        for way in (self._in_channel, self._through_token, self._in_person):
            if way != self._in_channel and mention.sent:
                await self._say_unconfirmed(mention)
                return
            try:
                told = await way(mention)
            except SENDING_ERRORS as error:
                if may_pass(error):
                    raise
                log.info("mentioned elsewhere", job=job.id, way=way.__name__, error=str(error))
                continue
            if told is not None:
                if not job.origin.private:
                    # known, it goes with the rest when its owner deletes the job
                    await self._chores.note((told.channel.id, told.id), job, "ping")
                return
        log.warning("nobody was mentioned", job=job.id)
        if not job.origin.private:
            self._audit.cannot(*_where(mention), "trouble_mention")

    async def _find(
        self, channel: discord.abc.Messageable, mention: _Mention
    ) -> discord.Message | None:
        """What was posted before, known by its text, which names the job."""
        own, text = self._client.user, _text(mention.job)
        since = discord.Object(mention.owed.message_id)
        async for message in channel.history(limit=LOOKED_THROUGH, after=since, oldest_first=True):
            if own is not None and message.author.id == own.id and message.content == text:
                return message
        return None

    async def _in_channel(self, mention: _Mention) -> discord.Message | None:
        job, owed = mention.job, mention.owed
        if job.origin.private:
            return None
        where = owed.channel_id
        channel = self._client.get_partial_messageable(where, guild_id=job.origin.guild_id)
        if mention.posted:
            if (found := await self._find(channel, mention)) is not None:
                return found
            mention.sent = False  # what went through the token would be here
        answered = channel.get_partial_message(owed.message_id)
        sent = await channel.send(
            _text(job),
            reference=answered.to_reference(fail_if_not_exists=False),
            allowed_mentions=_only(job.origin.user_id),
            nonce=_nonce(job),
        )
        self._audit.can(*_where(mention), "trouble_mention")
        return sent

    async def _in_person(self, mention: _Mention) -> discord.Message | None:
        """Where nothing else is left. What is private came directly itself when its token ended."""
        job = mention.job
        if job.origin.private:
            return None
        user = await self._client.fetch_user(job.origin.user_id)
        if mention.posted and (found := await self._find(user, mention)) is not None:
            return found
        return await user.send(
            _text(job), allowed_mentions=_only(job.origin.user_id), nonce=_nonce(job)
        )

    async def _through_token(self, mention: _Mention) -> discord.Message | None:
        """Where the bot itself may not write, or the answer is for one person's eyes.

        That it may be done is noted before it is sent, for a stop that keeps the answer from us.
        """
        job, webhook = mention.job, self._webhook(mention.job)
        if webhook is None:
            return None
        if not await self._turn(mention, SENT):
            return None
        try:
            return await send_once(
                webhook,
                content=_text(job),
                allowed_mentions=_only(job.origin.user_id),
                ephemeral=job.origin.private,
            )
        except OutcomeUnknownError:
            mention.sent = True
            raise
        except SENDING_ERRORS:
            await self._turn(mention, "ping")
            raise

    async def _turn(self, mention: _Mention, kind: str) -> bool:
        """Note how far it is; False where its job was deleted. Raises DatabaseError."""
        if mention.owed.kind != kind:
            turned = await self._jobs.owed.turn(mention.owed, kind)
            if turned is None:
                return False
            mention.owed = turned
        return True

    async def _say_unconfirmed(self, mention: _Mention) -> None:
        """Say under the result that its owner may not have been mentioned. Raises what may pass."""
        job, webhook = mention.job, self._webhook(mention.job)
        log.warning("a mention may be lost", job=job.id)
        if not job.origin.private:
            # the channel is closed, so that it could neither be made nor looked for there
            self._audit.cannot(*_where(mention), "trouble_mention")
        if webhook is None:
            return
        line = Texts(job.origin.locale)("ping_unconfirmed")
        try:
            shown = await webhook.fetch_message(ORIGINAL)
            if line not in shown.content:
                content = "\n".join(filter(None, (shown.content, line)))
                await webhook.edit_message(ORIGINAL, content=cut(content))
        except SENDING_ERRORS as error:
            if may_pass(error):
                raise
            log.info("a result can't be edited", job=job.id, error=str(error))

    def _webhook(self, job: Job) -> discord.Webhook | None:
        """What follows up the interaction, while its token lives."""
        interaction = job.origin.interaction
        if interaction is None or self._clock.now() > interaction.expires_at - TOKEN_MARGIN:
            return None
        webhook = discord.Webhook.partial(
            interaction.application_id, interaction.token, client=self._client
        )
        webhook.type = discord.WebhookType.application  # as only such may answer one person alone
        return webhook


def _where(mention: _Mention) -> tuple[int | None, int]:
    """The server and the channel of what is answered."""
    return mention.job.origin.guild_id, mention.owed.channel_id


def _nonce(job: Job) -> str:
    return f"m{job.id}-{round(job.created_at.timestamp() * 1000):x}"


def _text(job: Job) -> str:
    key = "ping_finished" if job.state is JobState.FINISHED else "ping_failed"
    return Texts(job.origin.locale)(key, who=f"<@{job.origin.user_id}>", job=job.id)


def _only(user_id: int) -> discord.AllowedMentions:
    """Of all that a text may mention, this person alone."""
    return discord.AllowedMentions(
        everyone=False, users=[discord.Object(user_id)], roles=False, replied_user=False
    )
