"""The job after the one that is drawn, which the engine is handed before that one ends."""

import asyncio

import structlog

from generation import preparing
from generation.catalog import Catalog
from generation.engines import Engine
from generation.job import Job
from generation.job_queue import JobQueue
from generation.messages import EngineWork
from generation.waiting_jobs import Runs, WaitingJobs

log = structlog.get_logger(__name__)


class Ahead:
    """Hands the engine one job ahead, so that it need not wait while results are kept.

    In the store that job stays queued until the worker claims it: it can be cancelled as one that
    waits, counts no try, and is in its place after whatever ends the engine or the bot.
    """

    def __init__(
        self,
        worker: str,
        queue: JobQueue,
        waiting: WaitingJobs,
        engine: Engine,
        catalog: Catalog,
        runs: Runs | None = None,
    ) -> None:
        self._worker = worker
        self._runs = runs
        self._queue = queue
        self._waiting = waiting
        self._engine = engine
        self.catalog = catalog
        """What is on the worker's machine."""
        self._handing: asyncio.Task[None] | None = None
        self._work: EngineWork | None = None

    def hand(self, loaded: str) -> None:
        """Hand over what follows the running job, which is of the model that is `loaded`.

        Once for each: again, before `settled`, does nothing.
        """
        if self._handing is None:
            self._handing = asyncio.create_task(self._hand(loaded))

    async def _hand(self, loaded: str) -> None:
        try:
            job = await self._waiting.hold_next(self._worker, loaded, self._runs)
            if job is None:
                return
            work = await preparing.work_for(job, self.catalog, self._queue, preparing.at_once)
            if self._waiting.holds(job.id) and self._engine.hand_ahead(work):
                self._work = work
        except Exception as error:  # noqa: BLE001 - whoever takes it up in its turn says what is wrong
            log.debug("nothing is handed ahead", error=str(error) or type(error).__name__)
        finally:
            if self._work is None:
                self._waiting.release(self._worker)

    async def settled(self) -> None:
        """Wait until what is being handed over is, or is not."""
        if self._handing is not None:
            await asyncio.wait([self._handing])
            self._handing = None

    def take(self, job: Job) -> EngineWork | None:
        """What was handed over, if it is this job, which runs from now on."""
        work, self._work = self._work, None
        return work if work is not None and work.job == str(job.id) else None

    def forget(self, job: Job) -> None:
        """Take a job back that waits no more, if it is the one."""
        if self._work is not None and self._work.job == str(job.id):
            self._engine.withdraw(self._work.job)
            self._work = None

    async def give_up(self) -> None:
        """Take back whatever was handed over: it waits as the others do."""
        if self._handing is not None:
            self._handing.cancel()
            await self.settled()
        if self._work is not None:
            self._engine.withdraw(self._work.job)
            self._work = None
        self._waiting.release(self._worker)
