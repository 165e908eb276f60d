"""Shows grids in one message each, their pictures as they come."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import discord
import structlog

from bot.background import BackgroundTasks
from bot.clock import DiscordClock
from bot.delivery.approvals import Approvals
from bot.delivery.audit import Audit
from bot.delivery.failures import RETRIES, SENDING_ERRORS, may_pass
from bot.delivery.job_message import JobMessage, NowhereError, OutgoingMessage
from bot.delivery.pings import Pings
from bot.locales import Texts
from bot.pictures.attachments import (
    Attachment,
    JobAttachments,
    ShownPictures,
    Withheld,
    upload_limit,
)
from bot.pictures.decoding import PictureDecoder
from bot.ui import grid_message
from generation.job import Job, JobState
from generation.refusal import Refused
from generation.worker_pool import NOBODY, Awaited, WorkerPool
from storage.errors import DatabaseError
from storage.grids import DONE, Grid
from storage.owed import Owed
from storage.store import Store

log = structlog.get_logger(__name__)

REDRAWN_EVERY: Final = 5.0
"""Seconds between two pictures of a grid that is not done."""


ACKNOWLEDGED_WITHIN: Final = 10.0
"""Seconds; Discord gives three."""

Wait = Callable[..., Coroutine[Any, Any, None]]
"""Waits for the first of some coroutines. Raises CancelledError once the bot stops."""


@dataclass
class _FollowedGrid:
    grid_id: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the interaction that asked is answered: before that it can't be edited."""
    message: JobMessage | None = None
    whole: bool = False
    """Whether all of it has ended, so that only its delivery is left."""


class GridDelivery:
    """Follows grids until their owners have them."""

    def __init__(
        self,
        client: discord.Client,
        store: Store,
        workers: WorkerPool,
        attachments: JobAttachments,
        decoder: PictureDecoder,
        clock: DiscordClock,
        audit: Audit,
        pings: Pings,
        approvals: Approvals,
        tasks: BackgroundTasks,
        pause: Wait,
    ) -> None:
        self._client = client
        self._store = store
        self._workers = workers
        self._attachments = attachments
        self._decoder = decoder
        self._clock = clock
        self._audit = audit
        self._pings = pings
        self._approvals = approvals
        self._tasks = tasks
        self._pause = pause
        self._followed: dict[int, _FollowedGrid] = {}
        self.redrawn_every = REDRAWN_EVERY

    def track(self, grid_id: int) -> None:
        """Show a grid from now on; the interaction that asked for it is answered."""
        self._take_up(grid_id).acknowledged.set()

    def hear(self, job: Job) -> None:
        """Something has happened to a picture of a grid."""
        if job.grid is not None and (job.ended or job.state is JobState.QUEUED):
            self._take_up(job.grid.grid).changed.set()

    async def redraw(self, grid_id: int) -> None:
        """Show one that is done once more: a moderator has decided about some of it."""
        grid, jobs = await self._store.grids.get(grid_id), await self._store.grids.cells(grid_id)
        if grid is None or grid.state != DONE or not jobs:
            return
        if grid.channel_id is None or grid.message_id is None:
            return
        channel = self._client.get_partial_messageable(grid.channel_id)
        outgoing = await self._outgoing(grid, jobs, whole=True)
        try:
            await channel.get_partial_message(grid.message_id).edit(**outgoing.for_edit())
        except SENDING_ERRORS as error:
            log.warning("a grid can't be shown anew", grid=grid_id, error=str(error))

    @property
    def delivering(self) -> int:
        """How many are followed of which nothing is left to be drawn."""
        return sum(followed.whole for followed in self._followed.values())

    async def recover(self) -> None:
        """Take up what was under way when the bot stopped. Raises DatabaseError."""
        for grid_id in await self._store.grids.undelivered():
            self.track(grid_id)

    def _take_up(self, grid_id: int) -> _FollowedGrid:
        followed = self._followed.get(grid_id)
        if followed is None:
            followed = self._followed[grid_id] = _FollowedGrid(grid_id)
            followed.changed.set()
            task = self._tasks.spawn(self._follow(followed))
            task.add_done_callback(lambda _: self._followed.pop(grid_id, None))
        return followed

    async def _follow(self, followed: _FollowedGrid) -> None:
        await self._pause(followed.acknowledged.wait(), asyncio.sleep(ACKNOWLEDGED_WITHIN))
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                while not await self._show(followed):
                    await self._pause(followed.changed.wait())
                return
            except (*SENDING_ERRORS, DatabaseError) as error:
                if not isinstance(error, DatabaseError) and not may_pass(error):
                    await self._give_up(followed, error)
                    return
                log.info("a grid is shown later", grid=followed.grid_id, error=str(error))
                await self._pause(asyncio.sleep(wait))
            except NowhereError as error:
                await self._give_up(followed, error)
                return

    async def _show(self, followed: _FollowedGrid) -> bool:
        """Show how far it is; returns whether it is done, and delivered."""
        followed.changed.clear()
        grid = await self._store.grids.get(followed.grid_id)
        jobs = await self._store.grids.cells(followed.grid_id)
        if grid is None or not jobs or grid.state == DONE:
            return True
        done = followed.whole = all(job.ended for job in jobs)
        if followed.message is None:
            known = None
            if grid.channel_id is not None and grid.message_id is not None:
                known = (grid.channel_id, grid.message_id)
            # whichever job stands for all of them: they were asked for by the same interaction
            anchor = min(jobs, key=lambda job: job.id)
            followed.message = JobMessage(
                self._client, self._store.jobs, self._clock, anchor, known=known
            )
        outgoing = await self._outgoing(grid, jobs, whole=done)
        kind = "result" if done else "progress"
        written = await followed.message.write(outgoing, kind)
        if written != (grid.channel_id, grid.message_id):
            await self._store.grids.shown(grid.id, *written)
        if not done:
            await self._pause(asyncio.sleep(self.redrawn_every))
            return False
        await self._delivered(grid, jobs, written)
        return True

    async def _delivered(self, grid: Grid, jobs: list[Job], written: tuple[int, int]) -> None:
        anchor = min(jobs, key=lambda job: job.id)
        ping = None
        if any(job.pictures for job in jobs) and await self._pings.wanted(anchor):
            ping = Owed("ping", anchor.id, *written)
            await self._store.jobs.owed.note([ping])
        await self._store.grids.done(grid.id)
        self._audit.grid(anchor, grid, sum(len(job.pictures) for job in jobs))
        if ping is not None:
            self._pings.ping(anchor, ping)
        # moderators are pointed to what is delivered
        await self._approvals.ask_again(anchor.origin.guild_id)

    async def _outgoing(self, grid: Grid, jobs: list[Job], *, whole: bool) -> OutgoingMessage:
        origin = jobs[0].origin
        texts = Texts(origin.locale)
        left = None if whole else await self._left(jobs)
        content = grid_message.state(jobs, left, texts, self._awaited(jobs))
        shown = await self._drawn(grid, jobs, texts, whole=whole)
        content = "\n".join(filter(None, (content, shown.remarks(texts))))
        return OutgoingMessage(
            content=content,
            embed=grid_message.embed(grid.plan, origin.user_name, texts),
            files=shown.files,
            view=grid_message.buttons(grid.id, grid.plan, jobs, texts),
        )

    async def _drawn(
        self, grid: Grid, jobs: list[Job], texts: Texts, *, whole: bool
    ) -> ShownPictures:
        """The picture of what there is so far; nothing before the first."""
        contents: list[bytes] = []
        places: list[int] = []
        marks: dict[int, str] = {}
        spoiler = False
        withheld: list[Withheld] = []
        for job in jobs:
            assert job.grid is not None
            if not job.ended:
                continue
            pictures = await self._attachments.of(job, job.origin)
            if pictures.attachments:
                contents.append(pictures.attachments[0].content)
                places.append(job.grid.place)
                spoiler |= pictures.attachments[0].spoiler
            elif pictures.withheld:
                withheld += pictures.withheld
                marks[job.grid.place] = "–"
            elif job.state is not JobState.FINISHED or pictures.missing:
                marks[job.grid.place] = "×"
        if not contents:
            return ShownPictures(withheld=tuple(withheld))
        layout = grid_message.layout(grid.plan, places, marks, whole=whole)
        name = f"darkroom-grid-{grid.id}.webp"
        try:
            drawn = await self._decoder.grid(contents, layout, name)
        except Refused as refused:
            log.error("a grid can't be drawn", grid=grid.id, why=refused.code)
            return ShownPictures(missing=len(contents))
        shown = ShownPictures((Attachment(name, drawn, spoiler),), tuple(withheld))
        return await self._attachments.within(shown, upload_limit(self._client, jobs[0].origin))

    def _awaited(self, jobs: list[Job]) -> Awaited:
        """Whom its pictures wait for that are away, where none of it is drawn."""
        if any(job.state is JobState.RUNNING for job in jobs):
            return NOBODY
        waiting = (job for job in jobs if job.state is JobState.QUEUED)
        return next((self._workers.awaits(job) for job in waiting), NOBODY)

    async def _left(self, jobs: list[Job]) -> float | None:
        """Seconds until the last of it is drawn; None where that is not known."""
        own = {job.id for job in jobs if not job.ended}
        planned = await self._workers.plan(first=0, user_id=jobs[0].origin.user_id)
        found = [one.seconds_until_done for one in planned if one.job.id in own]
        return max(found) if found else None

    async def _give_up(self, followed: _FollowedGrid, error: Exception) -> None:
        """Nobody can be shown it: its pictures are in the history."""
        log.warning("a grid can't be shown", grid=followed.grid_id, error=str(error))
        jobs = await self._store.grids.cells(followed.grid_id)
        if jobs:
            self._audit.untold(jobs[0])
        if all(job.ended for job in jobs):
            await self._store.grids.done(followed.grid_id)
