"""Puts jobs on Discord: what waits, what runs, what came of it; nothing twice, nothing lost."""

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import discord
import structlog

from bot.background import BackgroundTasks
from bot.delivery.job_message import JobMessage, NowhereError, OutgoingMessage
from bot.locales import Texts
from bot.pictures import attachments
from bot.pictures.attachments import Attachment, JobAttachments
from bot.requests.actions import offered
from bot.ui import action_buttons, job_embeds
from bot.ui.formatting import COLOUR
from bot.ui.job_embeds import MessageBody
from generation.job import Job, JobState
from generation.messages import JobEvent, Preview, Progress
from generation.schedule import Planned
from generation.worker import Worker
from storage.jobs import JobStore

log = structlog.get_logger(__name__)

EDIT_EVERY: Final = 3.0
"""Seconds between edits of a message."""
TOO_LARGE: Final = frozenset((40005,))
TOO_MANY_REQUESTS: Final = 429
BREATH: Final = 0.005
"""Seconds between two who wait that are told of a change."""
HINT_SECONDS: Final = 60.0
CLOSING_SECONDS: Final = 5.0
"""What is on its way to Discord has so long to arrive when the bot stops."""
ACKNOWLEDGED_WITHIN: Final = 10.0
"""Seconds; Discord gives three, and a request of which it never heard is answered elsewhere."""
RETRIES: Final = (1, 2, 5, 15, 60, 120)
"""Seconds to wait after a failure that may pass; the last again and again."""


class _Followed:
    """A job whose message is kept up to date."""

    def __init__(self, job: Job, message: JobMessage) -> None:
        self.job = job
        self.message = message
        self.progress: Progress | None = None
        self.preview: bytes | None = None
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.acknowledged = asyncio.Event()
        """Whether Discord knows the answer to the interaction: before that it can't be edited."""


class Tracker:
    """Follows jobs from their acceptance to the delivery of their pictures."""

    def __init__(
        self,
        client: discord.Client,
        jobs: JobStore,
        worker: Worker,
        attachments: JobAttachments,
        *,
        edit_every: float = EDIT_EVERY,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._worker = worker
        self.attachments = attachments
        self.edit_every = edit_every
        self._followed: dict[int, _Followed] = {}
        self._tasks = BackgroundTasks()
        self._began = datetime.now(UTC)
        self._closing = asyncio.Event()
        self._one_by_one = asyncio.Lock()
        self._places: asyncio.Task[dict[int, Planned]] | None = None
        worker.listen(self._hear)

    def track(self, job: Job, *, reply_to: int | None = None) -> None:
        """Show a job from now on; its interaction, if it has one, is acknowledged."""
        followed = self._take_up(job)
        if reply_to is not None:
            followed.message.reply_to = reply_to
        followed.acknowledged.set()

    def _take_up(self, job: Job) -> _Followed:
        followed = self._followed.get(job.id)
        if followed is None:
            message = JobMessage(self._client, self._jobs, job)
            followed = self._followed[job.id] = _Followed(job, message)
            # what an earlier process took in, it has answered too
            if job.origin.interaction is None or job.created_at < self._began:
                followed.acknowledged.set()
            self._tasks.spawn(self._follow(followed))
            self._places_changed()
        return followed

    async def recover(self) -> None:
        """Take up what was under way when the bot stopped: deliver what ended, show the rest."""
        for job in await self._jobs.undelivered():
            if _is_ours(job):
                self.track(job)
                self._followed[job.id].ended.set()
        for job in await self._jobs.waiting():
            if _is_ours(job):
                self.track(job)

    async def close(self) -> None:
        """Stop; what is not delivered will be after the next start."""
        self._closing.set()
        await self._tasks.close(CLOSING_SECONDS)

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        if not _is_ours(job):
            return
        followed = self._take_up(job)
        followed.job = job
        match event:
            case Progress():
                followed.progress = event
            case Preview():
                followed.preview = event.jpeg
            case None if job.state is JobState.QUEUED:
                followed.progress = followed.preview = None
        followed.changed.set()
        if job.ended:
            followed.ended.set()
        if event is None or job.ended:
            self._places_changed()

    async def _pause(self, *waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait for the first of these. Raises CancelledError once the delivery is closing."""
        await _first(*waiting, self._closing.wait())
        if self._closing.is_set():
            raise asyncio.CancelledError

    def _places_changed(self) -> None:
        """Have those who wait look at their place in the queue again."""
        self._places = None
        for followed in self._followed.values():
            if followed.progress is None:
                followed.changed.set()

    async def _follow(self, followed: _Followed) -> None:
        """Show every change, at most once in so many seconds, until the end is delivered."""
        last = ""
        try:
            await self._pause(followed.acknowledged.wait(), asyncio.sleep(ACKNOWLEDGED_WITHIN))
            while not followed.ended.is_set():
                await self._pause(followed.changed.wait(), followed.ended.wait())
                followed.changed.clear()
                if followed.ended.is_set():
                    break
                last = await self._show_progress(followed, last)
                await self._pause(asyncio.sleep(self.edit_every), followed.ended.wait())
            await self._deliver(followed)
        except asyncio.CancelledError:
            raise
        except Exception:
            # the job stays undelivered in the database; the next start tries again
            log.exception("delivery failed", job=followed.job.id)
        finally:
            self._followed.pop(followed.job.id, None)

    async def _show_progress(self, followed: _Followed, last: str) -> str:
        """Edit the message unless it shows this already; returns what it shows."""
        job, preview = followed.job, followed.preview
        if preview is not None and not await self.attachments.may_preview(job):
            preview = None
        if followed.progress is None:
            # where many wait, telling them all at once would keep those who ask waiting
            async with self._one_by_one:
                await asyncio.sleep(BREATH)
        shown = await self._progress(followed)
        key = f"{shown.content}{len(preview or b'')}"
        if key == last:
            return last
        embed = None
        if preview is not None:
            embed = discord.Embed(colour=COLOUR).set_image(url="attachment://preview.jpg")
        message = OutgoingMessage(
            content=shown.content,
            embed=embed,
            files=lambda: (
                [Attachment("preview.jpg", preview, job.origin.spoiler).file()] if preview else []
            ),
            view=action_buttons.view(job, Texts(job.origin.locale)),
        )
        try:
            await followed.message.write(message, "progress")
        except (discord.HTTPException, aiohttp.ClientError, NowhereError) as error:
            # the next change or the result will be shown instead
            log.info("progress not shown", job=job.id, error=str(error))
        return key

    async def _progress(self, followed: _Followed) -> MessageBody:
        texts = Texts(followed.job.origin.locale)
        if followed.progress is not None:
            left = await self._left(followed)
            return job_embeds.progress(followed.job, followed.progress, left, texts)
        planned = (await self._queue()).get(followed.job.id)
        if planned is None:
            return MessageBody(texts("starting"))
        return job_embeds.waiting(planned, datetime.now(UTC), texts)

    async def _queue(self) -> dict[int, Planned]:
        """Where each job that waits stands; looked up once for all who ask."""
        if self._places is None:
            self._places = self._tasks.spawn(self._look_up_queue())
        return await asyncio.shield(self._places)

    async def _look_up_queue(self) -> dict[int, Planned]:
        return {planned.job.id: planned for planned in await self._worker.plan()}

    async def _left(self, followed: _Followed) -> float | None:
        """Seconds until it is done, while it runs."""
        running = self._worker.current
        if running is None or running.id != followed.job.id:
            return None
        return await self._worker.seconds_left()

    async def _deliver(self, followed: _Followed) -> None:
        """Show the end, however long Discord takes to accept it."""
        job = await self._jobs.get(followed.job.id)
        if job is None or job.delivered_at is not None:
            return
        texts = Texts(job.origin.locale)
        original, held_back = await self.attachments.of(job)
        shown = job_embeds.ended(job, texts)
        replayed = await self._replayed(job, texts)
        pictures, level = original, -1
        waits = itertools.chain(RETRIES, itertools.repeat(RETRIES[-1]))
        while True:
            content = job_embeds.remarks(held_back, lightened=level >= 0, texts=texts)
            content = "\n".join(filter(None, (replayed, content)))
            message = self._result(job, content, shown.embed, pictures, texts)
            try:
                written = await followed.message.write(message, "result")
                break
            except NowhereError:
                log.warning("nobody could be told", job=job.id)
                await self._jobs.mark_delivered(job.id)
                return
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                if _too_large(error) and level + 1 < len(attachments.LEVELS):
                    level += 1
                    pictures = await self.attachments.lighter(original, level)
                    continue
                if not _may_pass(error):
                    raise
                wait = next(waits)
                log.info("delivery is tried again", job=job.id, error=str(error), seconds=wait)
                await self._pause(asyncio.sleep(wait))
        await self._jobs.mark_delivered(job.id)
        if not job.origin.private:
            await self.add_reactions(job, *written)

    async def _replayed(self, job: Job, texts: Texts) -> str:
        """Whether a replay came out the same, and if not, what has changed."""
        if job.action != "replay" or job.parent is None or job.state is not JobState.FINISHED:
            return ""
        parent = await self._jobs.get(job.parent)
        return "" if parent is None else job_embeds.replayed(parent, job, texts)

    def _result(
        self,
        job: Job,
        content: str,
        embed: discord.Embed | None,
        pictures: list[Attachment],
        texts: Texts,
    ) -> OutgoingMessage:
        return OutgoingMessage(
            content=content,
            embed=embed,
            files=lambda: [picture.file() for picture in pictures],
            view=action_buttons.view(job, texts),
        )

    def invite(self, job: Job, channel_id: int, message_id: int, index: int | None = None) -> None:
        """Add the reactions in the background: Discord takes a second for a handful of them."""
        self._tasks.spawn(self.add_reactions(job, channel_id, message_id, index))

    def take_back(self, messages: Sequence[tuple[int, int]]) -> None:
        """Delete messages of deleted jobs, given by channel and id, in the background.

        What a stop leaves on Discord goes after the next start.
        """
        self._tasks.spawn(self._take_back(messages))

    async def _take_back(self, messages: Sequence[tuple[int, int]]) -> None:
        for channel_id, message_id in messages:
            channel = self._client.get_partial_messageable(channel_id)
            for wait in RETRIES:
                if self._closing.is_set():
                    log.warning("messages of a person are left on Discord", id=message_id)
                    return
                try:
                    await channel.get_partial_message(message_id).delete()
                except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                    if _may_pass(error):
                        await self._pause(asyncio.sleep(wait))
                        continue
                    log.info("a message could not be deleted", error=str(error))
                await self._jobs.taken_back(message_id)
                break

    def hint(self, message: discord.Message) -> None:
        """Delete a message of the bot's, which only hints at something, after a while."""
        self._tasks.spawn(self._delete_later(message))

    async def _delete_later(self, message: discord.Message) -> None:
        await self._pause(asyncio.sleep(HINT_SECONDS))
        try:
            await message.delete()
        except (discord.HTTPException, aiohttp.ClientError) as error:
            log.info("a hint could not be deleted", error=str(error))

    async def add_reactions(
        self, job: Job, channel_id: int, message_id: int, index: int | None = None
    ) -> None:
        """The emoji that people can target under a result, or under its picture `index`."""
        if job.state is not JobState.FINISHED or not self._is_in(job.origin.guild_id, channel_id):
            return
        message = self._client.get_partial_messageable(channel_id).get_partial_message(message_id)
        try:
            for target in offered(job, index):
                if target.action.invites and not self._closing.is_set():
                    await message.add_reaction(target.emoji)
        except (discord.HTTPException, aiohttp.ClientError) as error:
            log.info("no reactions", job=job.id, error=str(error))

    def _is_in(self, guild_id: int | None, channel_id: int) -> bool:
        """Whether the bot itself is where its app was used: not so in servers where only a person
        has installed it, nor in private threads that nobody let it into.
        """
        if guild_id is None:
            return True
        guild = self._client.get_guild(guild_id)
        return guild is not None and guild.get_channel_or_thread(channel_id) is not None


def _is_ours(job: Job) -> bool:
    """Whether it came from Discord; the command line looks after its own."""
    return job.origin.channel_id is not None or job.origin.interaction is not None


def _too_large(error: Exception) -> bool:
    return isinstance(error, discord.HTTPException) and (
        error.status == 413 or error.code in TOO_LARGE
    )


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, discord.HTTPException) or (
        error.status >= 500 or error.status == TOO_MANY_REQUESTS
    )


async def _first(*waiting: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of them is done."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
