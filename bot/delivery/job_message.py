"""Where a job's message is written: through the interaction while its token lives, then anywhere.

There is one message a job. Writing it twice leaves it as writing it once does, so that a crash
between the writing and the note that it was written does no harm.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import discord
import structlog

from bot.clock import DiscordClock
from bot.delivery.failures import (
    MESSAGE_CLOSED,
    NOT_FOUND,
    SENDING_ERRORS,
    UNAUTHORIZED,
    closes_the_way,
    outcome_unknown,
)
from bot.ui.formatting import cut, fitted
from generation.job import Job
from storage.jobs import JobStore

log = structlog.get_logger(__name__)

TOKEN_MARGIN: Final = timedelta(seconds=20)
LOOKED_THROUGH: Final = 3000
"""Messages of a channel since a request in which its own is looked for, which may be there."""
LOOKED_BEFORE: Final = timedelta(minutes=1)
"""By so much our clock and Discord's may differ."""
NEWEST: Final = 100
"""Messages that are looked through where the clocks differ by more."""
ORIGINAL: Final[Any] = "@original"

MakeFiles = Callable[[], Sequence[discord.File]]


class NowhereError(Exception):
    """There is no place left where this job's owner could be told anything."""


class OutgoingMessage:
    """What to write. `files` makes them anew each time, for sending uses them up."""

    def __init__(
        self,
        *,
        content: str = "",
        embed: discord.Embed | None = None,
        files: MakeFiles = list,
        view: discord.ui.View | None = None,
    ) -> None:
        self.content = cut(content)
        self.embed = fitted(embed) if embed else None
        self.files = files
        self.view = view

    def for_edit(self) -> dict[str, Any]:
        """Arguments that replace all that a message shows."""
        return {
            "content": self.content or None,
            "embeds": [self.embed] if self.embed else [],
            "attachments": list(self.files()),
            "view": self.view,
        }

    def for_send(self) -> dict[str, Any]:
        """Arguments for a new message."""
        arguments: dict[str, Any] = {"files": list(self.files())}
        if self.content:
            arguments["content"] = self.content
        if self.embed:
            arguments["embed"] = self.embed
        if self.view:
            arguments["view"] = self.view
        return arguments


class JobMessage:
    """The message of one job, wherever it can be written.

    `posted` says that an earlier process may have posted it: then it is looked for first. `known`
    are the channel and the message, where they are noted elsewhere.
    """

    def __init__(
        self,
        client: discord.Client,
        jobs: JobStore,
        clock: DiscordClock,
        job: Job,
        *,
        posted: bool = False,
        known: tuple[int, int] | None = None,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._clock = clock
        self._job = job
        self.reply_to: int | None = None
        """The message that a new one answers."""
        self._token_dead = False
        self._known = known
        self._noted: tuple[tuple[int, int], str] | None = None
        self._looked_up = False
        self._may_be_posted = posted

    @property
    def channel_id(self) -> int | None:
        """Where it is written, unless it has to be elsewhere."""
        return self._job.origin.channel_id

    async def write(self, message: OutgoingMessage, kind: str) -> tuple[int, int]:
        """Show `message`; returns the ids of the channel and the message, for `note`.

        Raises discord.HTTPException for what may pass or what the message itself is wrong in,
        DatabaseError, and NowhereError when nothing is left to try.
        """
        for way in (self._through_token, self._through_channel, self._in_person):
            try:
                written = await way(message, kind)
            except discord.HTTPException as error:
                if not closes_the_way(error) and not (
                    way == self._through_token and error.status == UNAUTHORIZED
                ):
                    raise
                log.info("answered elsewhere", job=self._job.id, way=way.__name__, code=error.code)
                continue
            if written is not None:
                self._known = written
                return written
        raise NowhereError(self._job.id)

    async def note(self, written: tuple[int, int], kind: str) -> bool:
        """Note which message shows the job; False where the job was deleted meanwhile.

        Raises storage.errors.DatabaseError.
        """
        if self._noted != (written, kind):
            if not await self._jobs.add_message(written[1], written[0], self._job.id, kind):
                return False
            self._noted = (written, kind)
        return True

    async def remains(self) -> tuple[int, int] | None:
        """Of a job that was deleted: delete the answer to its interaction while that may be done;
        returns the message that there is beside, which may have been written without a note.

        Raises what a request to Discord may raise.
        """
        origin, webhook = self._job.origin, self._webhook()
        if webhook is not None:
            try:
                await webhook.delete_message(ORIGINAL)
            except discord.HTTPException as error:
                if not closes_the_way(error) and error.status != UNAUTHORIZED:
                    raise
        if self._known is None and self._may_be_posted and origin.channel_id is not None:
            channel = self._client.get_partial_messageable(origin.channel_id)
            self._known = await self._find(channel)
            self._may_be_posted = False
        return self._known

    async def _through_token(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        webhook = self._webhook()
        if webhook is None:
            return None
        try:
            edited = await webhook.edit_message(ORIGINAL, **message.for_edit())
        except discord.HTTPException as error:
            self._token_dead = error.status in (UNAUTHORIZED, NOT_FOUND)
            raise
        return edited.channel.id or self._job.origin.channel_id or 0, edited.id

    def _webhook(self) -> discord.Webhook | None:
        """What answers the interaction, while its token lives."""
        interaction = self._job.origin.interaction
        if interaction is None or self._token_dead:
            return None
        if self._clock.now() > interaction.expires_at - TOKEN_MARGIN:
            return None
        return discord.Webhook.partial(
            interaction.application_id, interaction.token, client=self._client
        )

    async def _through_channel(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        """In the channel, unless the answer is private: what follows a token is never ephemeral."""
        origin = self._job.origin
        if origin.private or origin.channel_id is None:
            return None
        channel = self._client.get_partial_messageable(origin.channel_id, guild_id=origin.guild_id)
        edited = await self._edit_known(channel, message)
        if edited is not None:
            return edited
        arguments = message.for_send()
        if self.reply_to is not None:
            arguments["reference"] = discord.MessageReference(
                message_id=self.reply_to, channel_id=origin.channel_id, fail_if_not_exists=False
            )
        return await self._send(channel, arguments, kind)

    async def _in_person(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        """Only what came of it: nobody wants a direct message for each step on the way."""
        if kind == "progress":
            return None
        user = await self._client.fetch_user(self._job.origin.user_id)
        channel = await user.create_dm()
        if self._may_be_posted:
            edited = await self._edit_known(channel, message)
            if edited is not None:
                return edited
        return await self._send(channel, message.for_send(), kind)

    async def _edit_known(
        self, channel: discord.abc.Messageable, message: OutgoingMessage
    ) -> tuple[int, int] | None:
        """Show it in the message that there is already; None where there is none."""
        known = await self._known_message(channel)
        if known is None:
            return None
        where = self._client.get_partial_messageable(known[0])
        try:
            edited = await where.get_partial_message(known[1]).edit(**message.for_edit())
        except discord.HTTPException as error:
            if error.code not in MESSAGE_CLOSED:
                raise
            self._known = None
            return None
        return known[0], edited.id

    async def _send(
        self, channel: discord.abc.Messageable, arguments: dict[str, Any], kind: str
    ) -> tuple[int, int]:
        try:
            sent = await channel.send(nonce=self._nonce(kind), **arguments)
        except SENDING_ERRORS as error:
            self._may_be_posted |= outcome_unknown(error)
            raise
        self._clock.observe(sent.created_at)
        return sent.channel.id, sent.id

    def _nonce(self, kind: str) -> str:
        """Discord answers a repeated nonce with the first message, for some minutes."""
        return f"{kind[0]}{self._job.id}-{round(self._job.created_at.timestamp() * 1000):x}"

    async def _known_message(self, channel: discord.abc.Messageable) -> tuple[int, int] | None:
        """The message that shows the job, also one from before a restart.

        One that was posted without a note, because the answer to it was lost, is known by its
        buttons: Discord may have forgotten its nonce.
        """
        if self._known is None and not self._looked_up:
            for kind in ("result", "progress"):
                found = await self._jobs.messages_of(self._job.id, kind)
                if found:
                    self._known = found[-1]
                    break
            self._looked_up = True
        if self._known is None and self._may_be_posted:
            self._known = await self._find(channel)
            self._may_be_posted = False
        return self._known

    async def _find(self, channel: discord.abc.Messageable) -> tuple[int, int] | None:
        own = self._client.user
        since = self._job.created_at - LOOKED_BEFORE
        for messages in (
            channel.history(limit=LOOKED_THROUGH, after=since, oldest_first=True),
            channel.history(limit=NEWEST),
        ):
            async for message in messages:
                if own is not None and message.author.id == own.id and shows(message, self._job.id):
                    return message.channel.id, message.id
        return None


def shows(message: discord.Message, job_id: int) -> bool:
    """Whether a message of the bot's carries the buttons of a whole job."""
    rows = (row for row in message.components if isinstance(row, discord.ActionRow))
    ids = (str(getattr(item, "custom_id", "")) for row in rows for item in row.children)
    parts = (custom_id.split(":") for custom_id in ids)
    return any(len(part) == 3 and part[::2] == ["darkroom", str(job_id)] for part in parts)
