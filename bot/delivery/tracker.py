"""Keeps the messages of jobs up to date: what waits, what runs; then hands them to `results`."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

import discord
import structlog

from bot.background import BackgroundTasks
from bot.clock import DiscordClock
from bot.delivery.approvals import Approvals
from bot.delivery.audit import Audit
from bot.delivery.failures import SENDING_ERRORS
from bot.delivery.grids import GridDelivery
from bot.delivery.job_message import JobMessage, NowhereError, OutgoingMessage
from bot.delivery.message_chores import MessageChores
from bot.delivery.pings import Pings
from bot.delivery.results import Results
from bot.delivery.surroundings import JobSurroundings
from bot.locales import Texts
from bot.pictures.attachments import Attachment, JobAttachments
from bot.pictures.decoding import PictureDecoder
from bot.requests.actions import Accepts
from bot.ui import action_buttons, job_embeds
from bot.ui.job_embeds import MessageBody, Surroundings
from generation.job import Job, JobState
from generation.messages import JobEvent, Preview, Progress, Unsaved
from generation.schedule import Planned
from generation.worker_pool import WorkerPool
from storage.errors import DatabaseError
from storage.owed import Owed
from storage.store import Store

log = structlog.get_logger(__name__)

EDIT_EVERY: Final = 3.0
"""Seconds between edits of a message."""
BREATH: Final = 0.005
"""Seconds between two who wait that are told of a change."""
CALM: Final = 0.05
CALM_WITHIN: Final = 1.0
"""Seconds without a new request before those who wait are told, and how long that is waited for:
where many ask in one instant, Discord hears first that each of them was heard.
"""
NEAREST: Final = 3
LONGEST_AGO: Final = 2
"""Who is told when the queue moves: the next, and those who were told longest ago. Discord counts
the time down by itself, and an edit for each of a hundred would take as long as a picture.
"""
CLOSING_SECONDS: Final = 5.0
"""What is on its way to Discord has so long to arrive when the bot stops."""
ACKNOWLEDGED_WITHIN: Final = 10.0
"""Seconds; Discord gives three, and a request of which it never heard is answered elsewhere."""


class _Followed:
    """A job whose message is kept up to date."""

    def __init__(self, job: Job, message: JobMessage) -> None:
        self.job = job
        self.message = message
        self.progress: Progress | Unsaved | None = None
        self.preview: bytes | None = None
        self.place: int | None = None
        """In the queue, when it was told last."""
        self.told = 0.0
        self.around: Surroundings | None = None
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.acknowledged = asyncio.Event()
        """Whether Discord knows the answer to the interaction: before that it can't be edited."""


class Tracker:
    """Follows jobs from their acceptance to the delivery of their pictures."""

    def __init__(
        self,
        client: discord.Client,
        store: Store,
        workers: WorkerPool,
        attachments: JobAttachments,
        decoder: PictureDecoder,
        clock: DiscordClock,
        around: JobSurroundings,
        accepts: Accepts,
        audit: Audit,
        *,
        edit_every: float = EDIT_EVERY,
    ) -> None:
        jobs, settings, approvals = store.jobs, store.settings, store.approvals
        self._client = client
        self._jobs = jobs
        self._workers = workers
        self._clock = clock
        self.attachments = attachments
        self.edit_every = edit_every
        self._followed: dict[int, _Followed] = {}
        self._listeners: list[Callable[[Job, bool], None]] = []
        self._tasks = BackgroundTasks()
        self._closing = asyncio.Event()
        self._before = 0
        """The newest job of an earlier process, which has answered it: also one that this process
        has claimed, and tells of only after it has looked what was left."""
        self._recovered = False
        """Before that the worker may take up what an earlier process has posted."""
        self._one_by_one = asyncio.Lock()
        self._asked_at = 0.0
        """When the last new job was taken up, by the loop's clock."""
        self._places: asyncio.Task[dict[int, Planned]] | None = None
        self._moved: int | None = None
        """How many others are to be told that the queue moved; None where it has not."""
        self.chores = MessageChores(client, jobs, self._tasks, self._sleep, accepts, audit)
        self._around = around
        self._accepts = accepts
        self._pings = Pings(
            client, settings, clock, jobs, self._tasks, self.chores, self._sleep, audit
        )
        self._approvals = approvals
        self.approvals = Approvals(
            *(client, approvals, jobs, settings, attachments, audit, self._tasks, self._sleep)
        )
        self._results = Results(
            *(client, jobs, attachments, self.chores, around, self._pings, self._sleep, accepts),
            audit,
            approvals,
            self._tell,
        )
        self.grids = GridDelivery(
            *(client, store, workers, attachments, decoder, clock, audit, self._pings),
            *(self.approvals, self._tasks, self._pause),
        )
        workers.listen(self._hear)

    def __len__(self) -> int:
        return len(self._followed)

    @property
    def delivering(self) -> int:
        """How many results are on their way."""
        ended = sum(followed.ended.is_set() for followed in self._followed.values())
        return ended + self.grids.delivering

    def listen(self, listener: Callable[[Job, bool], None]) -> None:
        """Have `listener` told of each job whose owner was told how it ended, or could not be."""
        self._listeners.append(listener)

    def _tell(self, job: Job, told: bool) -> None:
        log.info("delivered", job=job.id, state=job.state.value, told=told)
        for listener in self._listeners:
            listener(job, told)

    def track(self, job: Job, *, reply_to: int | None = None) -> None:
        """Show a job from now on; its interaction, if it has one, is acknowledged."""
        followed = self._take_up(job)
        if reply_to is not None:
            followed.message.reply_to = reply_to
        followed.acknowledged.set()

    def _take_up(self, job: Job, *, posted: bool = False) -> _Followed:
        followed = self._followed.get(job.id)
        if followed is None:
            earlier = job.id <= self._before
            posted = posted or earlier or not self._recovered
            message = JobMessage(self._client, self._jobs, self._clock, job, posted=posted)
            followed = self._followed[job.id] = _Followed(job, message)
            if earlier or job.origin.interaction is None:
                followed.acknowledged.set()
            followed.changed.set()
            self._asked_at = asyncio.get_running_loop().time()
            self._queue_moved(others=0)
            self._tasks.spawn(self._follow(followed))
        return followed

    async def recover(self) -> None:
        """Take up what was under way when the bot stopped: deliver what ended, show the rest.

        Raises storage.errors.DatabaseError.
        """
        newest = self._before = await self._jobs.newest_id()
        # looked for first: what is delivered from now on is done by itself
        left = await self._jobs.owed.left()
        for job in [*await self._jobs.undelivered(), *await self._jobs.waiting()]:
            if _is_ours(job, self._jobs.process) and job.grid is None:
                followed = self._take_up(job, posted=True)
                followed.acknowledged.set()
                if job.ended:
                    followed.ended.set()
        for followed in self._followed.values():
            # the worker has taken it up meanwhile, and an earlier process has answered it
            if followed.job.id <= newest:
                followed.acknowledged.set()
        self._recovered = True
        await self._pay(left)
        await self.grids.recover()
        await self._decide_again()

    async def take_up(self, numbers: Collection[int]) -> None:
        """Take up what another process has left, or has drawn without this one hearing of it.

        Raises storage.errors.DatabaseError.
        """
        wanted = {number for number in numbers if not self._delivers(number)}
        if not wanted:
            return
        for number in sorted(wanted):
            job = await self._jobs.get(number)
            if job is None or not _is_ours(job, self._jobs.process):
                continue
            if job.grid is not None:
                self.grids.track(job.grid.grid)
                self.grids.hear(job)
            elif job.delivered_at is None:
                # it may have been posted, and its answer lost
                followed = self._take_up(job, posted=True)
                followed.acknowledged.set()
                followed.job = job
                if job.ended:
                    followed.ended.set()
        await self._pay([each for each in await self._jobs.owed.left() if each.job_id in wanted])
        await self._decide_again()

    def _delivers(self, number: int) -> bool:
        """Whether the end of a job is on its way."""
        followed = self._followed.get(number)
        return followed is not None and followed.ended.is_set()

    async def _pay(self, left: Sequence[Owed]) -> None:
        """Do what is still owed about results that are there."""
        for owed in left:
            job = await self._jobs.get(owed.job_id)
            if job is not None and owed.kind == "emoji":
                self.chores.add_emoji(job, owed)
            elif job is not None:
                self._pings.ping(job, owed, posted=True)

    async def _decide_again(self) -> None:
        """Ask moderators who were not asked, and show what they decided."""
        await self.approvals.ask_again()
        for job_id in await self._approvals.untold():
            self.show_decided(job_id)

    def show_decided(self, job_id: int) -> None:
        """Show in a job's result what a moderator has decided about its pictures."""
        self._tasks.spawn(self._show_decided(job_id))

    async def _show_decided(self, job_id: int) -> None:
        job = await self._jobs.get(job_id)
        if job is not None and job.grid is not None:
            await self.grids.redraw(job.grid.grid)
            await self._approvals.told(job_id)
        elif job is not None and job.delivered_at is not None:
            message = JobMessage(self._client, self._jobs, self._clock, job)
            await self._results.show_decided(job, message)

    async def close(self) -> None:
        """Stop; what is not delivered will be after the next start."""
        self._closing.set()
        await self._tasks.close(CLOSING_SECONDS)

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        if not _is_ours(job, self._jobs.process):
            return
        if job.grid is not None:
            self.grids.hear(job)
            return
        followed = self._take_up(job)
        followed.job = job
        match event:
            case Progress() | Unsaved():
                followed.progress = event
            case Preview():
                followed.preview = event.jpeg
            case None if job.state is JobState.QUEUED:
                followed.progress = followed.preview = None
        followed.changed.set()
        if job.ended:
            followed.ended.set()
        if event is None and job.state is not JobState.QUEUED:
            self._queue_moved()

    async def _pause(self, *waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait for the first of these. Raises CancelledError once the delivery is closing."""
        await _first(*waiting, self._closing.wait())
        if self._closing.is_set():
            raise asyncio.CancelledError

    async def _sleep(self, seconds: float) -> None:
        await self._pause(asyncio.sleep(seconds))

    def queue_changed(self) -> None:
        """Show all who wait anew where they stand: drawing was paused, or goes on."""
        self._queue_moved(others=len(self._followed))

    def _queue_moved(self, others: int = LONGEST_AGO) -> None:
        """Have some of those who wait look at their place in the queue again; once for all that
        moves it in one turn of the loop.
        """
        self._places = None
        if self._moved is None:
            asyncio.get_running_loop().call_soon(self._tell_moved)
        self._moved = max(self._moved or 0, others)

    def _tell_moved(self) -> None:
        others, self._moved = self._moved or 0, None
        waiting = [one for one in self._followed.values() if one.place is not None]
        nearest = sorted(waiting, key=lambda one: one.place or 0)[:NEAREST]
        rest = sorted((one for one in waiting if one not in nearest), key=lambda one: one.told)
        for followed in (*nearest, *rest[:others]):
            followed.changed.set()

    async def _follow(self, followed: _Followed) -> None:
        """Show every change, at most once in so many seconds, until the end is delivered."""
        structlog.contextvars.bind_contextvars(job=followed.job.id)
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
            if await self._results.deliver(followed.job.id, followed.message):
                self.approvals.ask(followed.job.id)
        finally:
            self._followed.pop(followed.job.id, None)

    async def _show_progress(self, followed: _Followed, last: str) -> str:
        """Edit the message unless it shows this already; returns what it shows."""
        try:
            job, preview = followed.job, followed.preview
            if preview is not None and not await self.attachments.may_preview(job):
                preview = None
            if followed.progress is None:
                # where many wait, telling them all at once would keep those who ask waiting
                async with self._one_by_one:
                    await self._calm()
            shown = await self._progress(followed)
            key = f"{shown.content}{len(preview or b'')}"
            if key == last:
                return last
            if followed.around is None:
                followed.around = await self._around.of(job)
            outgoing = self._outgoing(followed, job, shown, preview)
            written = await followed.message.write(outgoing, "progress")
            if not await followed.message.note(written, "progress"):
                self.chores.take_back([written])
        except (*SENDING_ERRORS, NowhereError, DatabaseError) as error:
            # the next change or the result will be shown instead
            log.info("progress not shown", job=followed.job.id, error=str(error))
        except Exception:
            # the result is delivered all the same, or says what is wrong
            incident = secrets.token_hex(4)
            log.exception("progress can't be shown", job=followed.job.id, incident=incident)
        else:
            return key
        return last

    async def _calm(self) -> None:
        """Wait a little, and while others are asking."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(BREATH)
        for _ in range(int(CALM_WITHIN / CALM)):
            if loop.time() - self._asked_at >= CALM:
                break
            await asyncio.sleep(CALM)

    async def _progress(self, followed: _Followed) -> MessageBody:
        texts = Texts(followed.job.origin.locale)
        followed.place = None
        match followed.progress:
            case Progress() as progress:
                left = await self._left(followed)
                return job_embeds.progress(followed.job, progress, left, texts)
            case Unsaved() as unsaved:
                return MessageBody(texts(unsaved.code))
        awaited = self._workers.awaits(followed.job)
        if awaited.names and followed.job.state is JobState.QUEUED:
            return job_embeds.awaiting(followed.job, awaited, texts)
        if self._workers.paused and followed.job.state is JobState.QUEUED:
            return MessageBody(texts("queue_paused"))
        planned = (await self._queue()).get(followed.job.id)
        if planned is None:
            return MessageBody(texts("starting"))
        followed.place = planned.place
        followed.told = asyncio.get_running_loop().time()
        return job_embeds.waiting(planned, self._clock.now(), texts)

    def _outgoing(
        self, followed: _Followed, job: Job, shown: MessageBody, preview: bytes | None
    ) -> OutgoingMessage:
        texts, around = Texts(job.origin.locale), followed.around or Surroundings()
        embed = job_embeds.asked(job, texts, around)
        if preview is not None:
            embed.set_image(url="attachment://preview.jpg")
        content = "\n".join(filter(None, (shown.content, job_embeds.remarks(job, texts, around))))

        def files() -> list[discord.File]:
            if preview is None:
                return []
            return [Attachment("preview.jpg", preview, job.origin.spoiler).file()]

        view = action_buttons.view(job, texts, self._accepts)
        return OutgoingMessage(content=content, embed=embed, files=files, view=view)

    async def _queue(self) -> dict[int, Planned]:
        """Where each job that waits stands; looked up once for all who ask."""
        if self._places is None:
            self._places = self._tasks.spawn(self._look_up_queue())
        return await asyncio.shield(self._places)

    async def _look_up_queue(self) -> dict[int, Planned]:
        return {planned.job.id: planned for planned in await self._workers.plan()}

    async def _left(self, followed: _Followed) -> float | None:
        """Seconds until it is done, while it runs."""
        return await self._workers.seconds_left(followed.job.id)


def _is_ours(job: Job, process: str) -> bool:
    """Whether it came from Discord to this process; the command line looks after its own."""
    from_discord = job.origin.channel_id is not None or job.origin.interaction is not None
    return from_discord and job.process == process


async def _first(*waiting: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of them is done."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
