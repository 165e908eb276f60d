"""Between processes that share a database: each tells the others what concerns them.

A job is delivered by the process that was asked for it, whoever draws it. What its worker tells
goes to that process; the previews alone do not.
"""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Final, assert_never

import structlog

from bot.background import BackgroundTasks
from bot.pausing import PauseSwitch
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
PROGRESS_EVERY: Final = 1.0
"""Seconds between what is told of the steps of one job."""
KEYS_MAX: Final = 100
"""Settings that are named in one notice."""
CLOSING_SECONDS: Final = 5.0


class Relay:
    """Tells and hears, and says that this process lives, for as long as `run` runs."""

    def __init__(self, store: Store, workers: WorkerPool, pausing: PauseSwitch) -> None:
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
                for job in await self._store.jobs.undelivered():
                    self._workers.tell(job)
            case _:
                assert_never(notice)

    async def _moved(self, notice: JobMoved) -> None:
        job = await self._store.jobs.get(notice.job)
        if job is not None:
            self._workers.tell(job, None if job.ended else notice.progress)

    # alive

    async def _beat(self) -> None:
        while True:
            names = [worker.name for worker in self._workers.workers]
            try:
                await self._store.leases.beat(names)
                for job in await self._store.leases.take_from_silent(SILENT_FOR):
                    log.warning("a silent worker's job goes to others", job=job.id)
                    self._workers.tell(job)
                    self._workers.wake()
                adopted = await self._store.leases.adopt(GONE_FOR)
                if adopted:
                    log.warning("another process is gone: its requests are ours", jobs=adopted)
                    for job in await self._store.jobs.undelivered():
                        self._workers.tell(job)
            except DatabaseError as error:
                log.warning("the database does not hear that this process lives", error=str(error))
            await asyncio.sleep(BEAT_EVERY)
