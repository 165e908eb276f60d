"""What is done to messages in the background: reactions added, messages deleted."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import discord
import structlog

from bot.background import BackgroundTasks
from bot.delivery.audit import Audit
from bot.delivery.failures import RETRIES, SENDING_ERRORS, may_pass
from bot.requests.actions import Accepts, offered
from generation.job import Job, JobState, Origin
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.owed import Owed

log = structlog.get_logger(__name__)

HINT_SECONDS: Final = 60.0
UNKNOWN_EMOJI: Final = 10014
REACTION_SECONDS: Final = 0.25
"""Discord takes one reaction in so many seconds."""

Pause = Callable[[float], Coroutine[Any, Any, None]]
"""Waits so many seconds. Raises CancelledError once the bot stops."""


class MessageChores:
    """One after the other, so that Discord has to refuse none for coming too fast."""

    def __init__(
        self,
        client: discord.Client,
        jobs: JobStore,
        tasks: BackgroundTasks,
        pause: Pause,
        accepts: Accepts,
        audit: Audit,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._tasks = tasks
        self._pause = pause
        self._accepts = accepts
        self._audit = audit
        self._reacting = asyncio.Lock()

    def invite(self, job: Job, channel_id: int, message_id: int, index: int | None = None) -> None:
        """Add the emoji that people can press under a result, or under its picture `index`.

        What a stop cuts short goes on after the next start.
        """
        owed = self.invitation(job, channel_id, message_id, index)
        if owed is not None:
            self._tasks.spawn(self._note_and_invite(job, owed))

    def invitation(
        self, job: Job, channel_id: int, message_id: int, index: int | None = None
    ) -> Owed | None:
        """The emoji that `invite` adds, to be noted and then added; None where it adds none."""
        if job.state is JobState.FINISHED and self._is_in(job.origin, channel_id):
            return Owed("emoji", job.id, channel_id, message_id, index)
        return None

    def add_emoji(self, job: Job, owed: Owed) -> None:
        """Add the emoji of an invitation that is noted."""
        self._tasks.spawn(self._invite(job, owed))

    async def settle(self, owed: Owed) -> None:
        """Note that what was owed is done, or can't be."""
        try:
            await self._jobs.owed.done(owed)
        except DatabaseError as error:
            # the next start does it again, which does no harm
            log.warning("what was owed is still noted", job=owed.job_id, error=str(error))

    def take_back(self, messages: Sequence[tuple[int, int]]) -> None:
        """Delete messages of deleted jobs, given by channel and id.

        What a stop leaves on Discord goes after the next start.
        """
        self._tasks.spawn(self._take_back(messages))

    async def note(
        self,
        written: tuple[int, int],
        job: Job,
        kind: str,
        *,
        position: int | None = None,
    ) -> bool:
        """Note a message that was posted, however long the database takes to accept it.

        False where its job was deleted meanwhile: then it is taken back.
        """
        channel_id, message_id = written
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                noted = await self._jobs.add_message(
                    message_id, channel_id, job.id, kind, position=position
                )
            except DatabaseError as error:
                log.warning("a message can't be noted yet", job=job.id, error=str(error))
                await self._pause(wait)
            else:
                if not noted:
                    self.take_back([written])
                return noted
        raise AssertionError("the waits never end")

    async def hint(self, message: discord.Message, user_id: int) -> None:
        """Delete a message of the bot's, which only hints at something, after a while.

        What a stop leaves on Discord goes after the next start.
        """
        try:
            await self._jobs.note_hint(message.channel.id, message.id, user_id)
        except DatabaseError as error:
            log.warning("a message to be deleted can't be noted", error=str(error))
        self._tasks.spawn(self._delete_later(message.channel.id, message.id))

    async def _note_and_invite(self, job: Job, owed: Owed) -> None:
        try:
            await self._jobs.owed.note([owed])
        except DatabaseError as error:
            log.warning("reactions to be added can't be noted", job=job.id, error=str(error))
        await self._invite(job, owed)

    async def _invite(self, job: Job, owed: Owed) -> None:
        channel = self._client.get_partial_messageable(owed.channel_id)
        message = channel.get_partial_message(owed.message_id)
        where, refused = (job.origin.guild_id, owed.channel_id), False
        for target in offered(job, owed.position, self._accepts):
            error = await self._react(message, target.emoji) if target.action.invites else None
            if error is None:
                continue
            log.info("a reaction was refused", job=job.id, emoji=target.emoji, error=str(error))
            if isinstance(error, discord.NotFound) and error.code != UNKNOWN_EMOJI:
                break  # with its message all is gone that was owed
            refused = True
            if isinstance(error, discord.Forbidden):
                self._audit.cannot(*where, "trouble_emoji")
                break
            self._audit.cannot(*where, "trouble_emoji_refused", code=str(error.code))
        else:
            if not refused:
                self._audit.can(*where, "trouble_emoji", "trouble_emoji_refused")
        await self.settle(owed)

    async def _react(
        self, message: discord.PartialMessage, emoji: str
    ) -> discord.HTTPException | None:
        """Add a reaction, again after what may pass; returns why Discord never will take it."""
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            async with self._reacting:
                try:
                    await message.add_reaction(emoji)
                except SENDING_ERRORS as error:
                    if isinstance(error, discord.HTTPException) and not may_pass(error):
                        return error
                    log.info("a reaction is tried again", error=str(error), seconds=wait)
                else:
                    await self._pause(REACTION_SECONDS)
                    return None
            await self._pause(wait)
        raise AssertionError("the waits never end")

    async def _delete_later(self, channel_id: int, message_id: int) -> None:
        await self._pause(HINT_SECONDS)
        await self._take_back([(channel_id, message_id)])

    async def _take_back(self, messages: Sequence[tuple[int, int]]) -> None:
        for done, (channel_id, message_id) in enumerate(messages):
            try:
                gone = await self._delete(channel_id, message_id)
            except asyncio.CancelledError:
                log.warning("messages are left on Discord", count=len(messages) - done)
                raise
            if gone:
                await self._taken_back(message_id)
            else:
                # it stays noted, so that who had asked for it may delete it
                self.left_standing(channel_id)

    def left_standing(self, channel_id: int) -> None:
        """Tell that messages which were to go are left in a channel."""
        self._audit.cannot(self._guild_of(channel_id), channel_id, "trouble_deleting")

    async def _delete(self, channel_id: int, message_id: int) -> bool:
        """Whether a message is gone; deleting is tried again after what may pass."""
        message = self._client.get_partial_messageable(channel_id).get_partial_message(message_id)
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                await message.delete()
            except SENDING_ERRORS as error:
                if not may_pass(error):
                    log.info("a message could not be deleted", error=str(error))
                    return isinstance(error, discord.NotFound)
                await self._pause(wait)
            else:
                self._audit.can(self._guild_of(channel_id), channel_id, "trouble_deleting")
                return True
        raise AssertionError("the waits never end")

    def _guild_of(self, channel_id: int) -> int | None:
        channel = self._client.get_channel(channel_id)
        return (
            None
            if isinstance(channel, discord.abc.PrivateChannel) or channel is None
            else channel.guild.id
        )

    async def _taken_back(self, message_id: int) -> None:
        try:
            await self._jobs.taken_back(message_id)
        except DatabaseError as error:
            # the next start deletes it again, which does no harm
            log.warning("a deletion can't be noted", error=str(error))

    def _is_in(self, origin: Origin, channel_id: int) -> bool:
        """Whether the bot itself is where its app was used: not so in servers where only a person
        has installed it, nor in private threads that nobody let it into.
        """
        if origin.guild_id is None:
            return not origin.guest
        guild = self._client.get_guild(origin.guild_id)
        return guild is not None and guild.get_channel_or_thread(channel_id) is not None
