"""Where a job's message is written: through the interaction while its token lives, then anywhere.

There is one message a job. Writing it twice leaves it as writing it once does, so that a crash
between the writing and the note that it was written does no harm.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import discord
import structlog

from generation.job import Job
from storage.jobs import JobStore

log = structlog.get_logger(__name__)

TOKEN_MARGIN: Final = timedelta(seconds=20)
TOKEN_ENDED: Final = 50027
"""Invalid webhook token."""
MESSAGE_CLOSED: Final = frozenset((10008, 30046, 50083))
"""Unknown message, too many edits of an old message, archived thread: a new message may go."""
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
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
        self.content = content
        self.embed = embed
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
    """The message of one job, wherever it can be written."""

    def __init__(self, client: discord.Client, jobs: JobStore, job: Job) -> None:
        self._client = client
        self._jobs = jobs
        self._job = job
        self.reply_to: int | None = None
        """The message that a new one answers."""
        self._token_dead = False
        self._known: tuple[int, int] | None = None
        self._looked_up = False

    async def write(self, message: OutgoingMessage, kind: str) -> tuple[int, int]:
        """Show `message`; returns the ids of the channel and the message.

        Raises discord.HTTPException for what may pass or what the message itself is wrong in, and
        NowhereError when nothing is left to try.
        """
        for way in (self._through_token, self._through_channel, self._in_person):
            try:
                written = await way(message, kind)
            except discord.HTTPException as error:
                if not _closes_the_way(error) and not (
                    way == self._through_token and error.status == UNAUTHORIZED
                ):
                    raise
                log.info("answered elsewhere", job=self._job.id, way=way.__name__, code=error.code)
                continue
            if written is not None:
                await self._note(written, kind)
                return written
        raise NowhereError(self._job.id)

    async def _note(self, written: tuple[int, int], kind: str) -> None:
        if self._known != written or kind == "result":
            self._known = written
            await self._jobs.add_message(written[1], written[0], self._job.id, kind)

    async def _through_token(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        interaction = self._job.origin.interaction
        if interaction is None or self._token_dead:
            return None
        if datetime.now(UTC) > interaction.expires_at - TOKEN_MARGIN:
            return None
        webhook = discord.Webhook.partial(
            interaction.application_id, interaction.token, client=self._client
        )
        try:
            edited = await webhook.edit_message(ORIGINAL, **message.for_edit())
        except discord.HTTPException as error:
            self._token_dead = error.status in (UNAUTHORIZED, NOT_FOUND)
            raise
        return edited.channel.id or self._job.origin.channel_id or 0, edited.id

    async def _through_channel(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        """In the channel, unless the answer is private: what follows a token is never ephemeral."""
        origin = self._job.origin
        if origin.private or origin.channel_id is None:
            return None
        known = await self._known_message()
        if known is not None:
            try:
                channel = self._client.get_partial_messageable(known[0])
                edited = await channel.get_partial_message(known[1]).edit(**message.for_edit())
                return known[0], edited.id
            except discord.HTTPException as error:
                if error.code not in MESSAGE_CLOSED:
                    raise
                self._known = None
        channel = self._client.get_partial_messageable(origin.channel_id, guild_id=origin.guild_id)
        arguments = message.for_send()
        if self.reply_to is not None:
            arguments["reference"] = discord.MessageReference(
                message_id=self.reply_to, channel_id=origin.channel_id, fail_if_not_exists=False
            )
        sent = await channel.send(nonce=self._nonce(kind), **arguments)
        return sent.channel.id, sent.id

    async def _in_person(self, message: OutgoingMessage, kind: str) -> tuple[int, int] | None:
        """Only what came of it: nobody wants a direct message for each step on the way."""
        if kind == "progress":
            return None
        user = await self._client.fetch_user(self._job.origin.user_id)
        sent = await user.send(nonce=self._nonce(kind), **message.for_send())
        return sent.channel.id, sent.id

    def _nonce(self, kind: str) -> str:
        """Discord answers a repeated nonce with the first message: a crash posts nothing twice."""
        return f"{kind[0]}{self._job.id}-{round(self._job.created_at.timestamp() * 1000):x}"

    async def _known_message(self) -> tuple[int, int] | None:
        """The message that shows the job, also one from before a restart."""
        if self._known is None and not self._looked_up:
            self._looked_up = True
            for kind in ("result", "progress"):
                found = await self._jobs.messages_of(self._job.id, kind)
                if found:
                    self._known = found[-1]
                    break
        return self._known


def _closes_the_way(error: discord.HTTPException) -> bool:
    """Whether this place will never take the message: it is gone, or closed to the bot."""
    return error.status in (FORBIDDEN, NOT_FOUND) or error.code in MESSAGE_CLOSED | {TOKEN_ENDED}
