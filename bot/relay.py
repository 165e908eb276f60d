"""Between processes that share a database: each tells the others what concerns them.

A job is delivered by the process that was asked for it, whoever draws it. What its worker tells
goes to that process; the previews alone do not.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Final, assert_never

import structlog

from bot.background import BackgroundTasks
from bot.pausing import PauseSwitch
from generation.elsewhere import status_of
from generation.job import Job
from generation.messages import JobEvent, Progress
from generation.worker_pool import WorkerPool
from storage.errors import DatabaseError
from storage.notices import (
    CancelAsked,
    JobMoved,
    Missed,
    Notice,
    PauseAsked,
    SettingsChanged,
)
from storage.settings import SettingsKey
from storage.store import Store

log = structlog.get_logger(__name__)

BEAT_EVERY: Final = 5.0
SILENT_FOR: Final = timedelta(seconds=30)
"""After which the jobs of a worker are given to others."""
GONE_FOR: Final = timedelta(minutes=10)
"""After which what a process has not delivered is delivered by others."""
LOOK_EVERY: Final = 15.0
"""Seconds between looks at what others have ended without this process hearing of it: one may be
killed before it tells.
"""
PROGRESS_EVERY: Final = 1.0
"""Seconds between what is told of the steps of one job."""
KEYS_MAX: Final = 100
"""Settings that are named in one notice."""
CLOSING_SECONDS: Final = 5.0


TakeUp = Callable[[Collection[int]], Awaitable[None]]
"""Has jobs delivered, by their numbers, unless they are already. Raises DatabaseError."""


async def recover(store: Store) -> list[Job]:
    """Put what this process had in hand when it stopped back into the queue, before its workers
    start. The only one delivers, too, what several have left that there were before.
    """
    if store.jobs.process:
        return await store.leases.recover()
    await store.leases.adopt(SILENT_FOR)
    return await store.jobs.recover()


class Relay:
    """Tells and hears, and says that this process lives, for as long as `run` runs."""

    def __init__(
        self, store: Store, workers: WorkerPool, pausing: PauseSwitch, take_up: TakeUp
    ) -> None:
        self._take_up = take_up
        self._store = store
        self._workers = workers
        self._pausing = pausing
        self._tasks = BackgroundTasks()
        self._told: dict[int, float] = {}
        """When the others were last told of the steps of a job."""
        workers.listen(self._hear)
        workers.elsewhere = lambda job_id: self._send(CancelAsked(job_id))
        store.settings.listen(self._settings_changed)
        pausing.relay(lambda paused: self._send(PauseAsked(paused)))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._look())
                group.create_task(self._listen())
        finally:
            await self._tasks.close(CLOSING_SECONDS)

    # told

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        if job.process == self._store.jobs.process:
            return
        if isinstance(event, Progress):
            now = time.monotonic()
            if now - self._told.get(job.id, float("-inf")) >= PROGRESS_EVERY:
                self._told[job.id] = now
                self._send(JobMoved(job.process, job.id, event))
        elif event is None or job.ended:
            if job.ended:
                self._told.pop(job.id, None)
            self._send(JobMoved(job.process, job.id))

    def _settings_changed(self, rows: tuple[SettingsKey, ...]) -> None:
        for start in range(0, len(rows), KEYS_MAX):
            self._send(SettingsChanged(rows[start : start + KEYS_MAX]))

    def _send(self, notice: Notice) -> None:
        self._tasks.spawn(self._sent(notice))

    async def _sent(self, notice: Notice) -> None:
        try:
            await self._store.notices.send(notice)
        except DatabaseError as error:
            # they look by themselves, if later
            log.warning("other processes can't be told", error=str(error))

    # heard

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._store.notices.listen()) as notices:
            async for notice in notices:
                try:
                    await self._on_notice(notice)
                except (DatabaseError, OSError) as error:
                    log.warning("what another process tells can't be done", error=str(error))

    async def _on_notice(self, notice: Notice) -> None:
        match notice:
            case SettingsChanged():
                self._store.settings.drop(notice.rows)
            case JobMoved():
                if notice.to == self._store.jobs.process:
                    await self._moved(notice)
            case CancelAsked():
                await self._workers.cancel_here(notice.job)
            case PauseAsked():
                self._pausing.follow(notice.paused)
            case Missed():
                self._store.settings.drop()
                await self._take_up(await self._store.jobs.undelivered_ids())
            case _:
                assert_never(notice)

    async def _moved(self, notice: JobMoved) -> None:
        job = await self._store.jobs.get(notice.job)
        if job is not None:
            self._workers.tell(job, None if job.ended else notice.progress)

    # alive

    async def _beat(self) -> None:
        while True:
            try:
                await self._live()
            except DatabaseError as error:
                log.warning("the database does not hear that this process lives", error=str(error))
            await asyncio.sleep(BEAT_EVERY)

    async def _live(self) -> None:
        """Say that this process does, and take over from those that don't."""
        leases = self._store.leases
        await leases.beat([await status_of(worker) for worker in self._workers.workers])
        self._workers.know_others(await leases.others(SILENT_FOR))
        for job in await leases.take_from_silent(SILENT_FOR):
            log.warning("a silent worker's job goes to others", job=job.id)
            self._workers.tell(job)
            self._workers.wake()
        adopted = await leases.adopt(GONE_FOR)
        if adopted:
            log.warning("another process is gone: its requests are ours", jobs=len(adopted))
            await self._take_up(adopted)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._take_up(await self._store.jobs.undelivered_ids())
            except DatabaseError as error:
                log.warning("what others have ended can't be read", error=str(error))
