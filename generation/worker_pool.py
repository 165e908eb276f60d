"""All workers, and the one queue that they take their jobs from."""

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec
import structlog

from generation.catalog import Catalog
from generation.elsewhere import OtherWorker, WorkerStatus
from generation.ending import ended
from generation.engines import Engine
from generation.job import Job
from generation.job_queue import JobQueue
from generation.messages import JobEvent, Ready
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.saving import SAVED_WITHIN
from generation.schedule import Planned
from generation.waiting_jobs import Runs, WaitingJobs
from generation.worker import Tellable, Worker

log = structlog.get_logger(__name__)

Listener = Callable[[Job, JobEvent | None], None]
"""As `generation.worker.Tell`."""


class Awaited(NamedTuple):
    """Those that a job waits for, as people know them: machines that have its files, and programs
    that draw here.
    """

    hosts: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.programs, *self.hosts)


NOBODY: Final = Awaited()


class WorkerPool:
    """One or several workers with an engine each, for as long as `run` runs.

    The order of the jobs is one over all of them: whoever is free takes the next that it can run,
    and rather one of the model that it has loaded.
    """

    def __init__(self, queue: JobQueue, catalog: Catalog, *, affinity: float = 0.0) -> None:
        self.elsewhere: Callable[[int], None] | None = None
        """Where other processes draw jobs of this queue, what has them stop one."""
        self._queue = queue
        self._catalog = catalog
        self._listeners: list[Listener] = []
        self._waiting = WaitingJobs(queue, affinity)
        self._workers: dict[str, Worker] = {}
        self._running: asyncio.TaskGroup | None = None
        self._go = asyncio.Event()
        """Cleared while no worker takes a job."""
        self._go.set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.places: Callable[[GenerationRequest], tuple[str, ...]] | None = None
        """Where workers come and go: the names of all that have a request's files, also of those
        that are away; "" of this machine."""
        self.runs_on: Callable[[str], Runs] | None = None
        """Which jobs the worker of such a machine can run."""
        self._awaited: dict[int, Awaited] = {}
        """What was said last of those whom a job waits for."""
        self.others: tuple[OtherWorker, ...] = ()
        """Those of other processes that take their jobs from the same queue."""

    # who draws

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All of them, in the order of their coming."""
        return tuple(self._workers.values())

    @property
    def running(self) -> tuple[Job, ...]:
        """What is drawn now, oldest first."""
        found = [worker.current for worker in self.workers if worker.current is not None]
        return tuple(sorted(found, key=attrgetter("id")))

    @property
    def ready(self) -> Ready | None:
        """What pictures are made on by the first that has started; None until then."""
        return next((worker.ready for worker in self.workers if worker.ready is not None), None)

    def know_others(self, statuses: Sequence[WorkerStatus]) -> None:
        """Learn which workers other processes have, and what they do."""
        before = {other.status.name for other in self.others}
        runs_on = self.runs_on
        self.others = tuple(
            OtherWorker(one, runs_on(one.host) if one.host and runs_on is not None else None)
            for one in statuses
        )
        if before != {other.status.name for other in self.others}:
            self.moved()

    def add(
        self,
        name: str,
        engine: Engine,
        *,
        runs: Runs | None = None,
        check: Tellable | None = None,
        catalog: Catalog | None = None,
        would: Runs | None = None,
        program: str = "",
    ) -> Worker:
        """Have one more draw, at once where the others do already; `runs` says which jobs it can,
        `would` also while its engine is away, `check` refuses what its engine can't be told, and
        `catalog` has where their files are on its machine, if that is another. `program` is what
        draws there, if it is another than this.

        Raises ValueError where there is one of that name.
        """
        if name in self._workers:
            raise ValueError(f"there is a worker {name!r} already")
        worker = Worker(
            *(name, self._queue, engine, catalog or self._catalog, self._waiting, self.tell),
            runs=runs,
            go=self._go,
            check=check,
            would=would,
            program=program,
        )
        self._workers[name] = worker
        if self._running is not None:
            self._tasks[name] = self._running.create_task(worker.run())
        return worker

    async def remove(self, name: str) -> None:
        """Have one draw no more: its job waits again."""
        worker = self._workers.pop(name)
        task = self._tasks.pop(name, None)
        await ended(task, within=2 * SAVED_WITHIN)
        await worker.engine.stop()
        self.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._running = group
                for worker in self.workers:
                    self._tasks[worker.name] = group.create_task(worker.run())
                # others may come
                await asyncio.Event().wait()
        finally:
            self._running = None
            self._tasks.clear()

    async def run_only(self, job_id: int) -> None:
        """Work until this one job has ended, and touch no other."""
        await self.workers[0].run_only(job_id)

    async def stop(self) -> None:
        """End all engines."""
        await asyncio.gather(*(worker.engine.stop() for worker in self.workers))

    @property
    def paused(self) -> bool:
        """Whether what waits goes on waiting; what is drawn comes to its end."""
        return not self._go.is_set()

    def pause(self) -> None:
        """Take no more jobs."""
        self._go.clear()
        self.wake()

    def resume(self) -> None:
        """Take jobs again."""
        self._go.set()
        self.wake()

    # what is to be drawn

    def awaits(self, job: Job) -> Awaited:
        """Whom a job waits for, where none that is there can draw it."""
        takers = [worker.takes for worker in self.workers] + [one.takes for one in self.others]
        if any(takes(job) for takes in takers):
            return NOBODY
        away = [worker for worker in self.workers if worker.would is not None and worker.would(job)]
        several = len(away) > 1
        programs = [f"{one.program} ({one.name})" if several else one.program for one in away]
        hosts = () if self.places is None else self.places(job.request)
        return Awaited(tuple(name for name in hosts if name), tuple(programs))

    def check(self, request: GenerationRequest) -> None:
        """Raise Refused for what none of the workers can be told, and none that may come."""
        refusals = []
        if any(other.status.tells_all for other in self.others):
            return
        for worker in self.workers:
            if worker.check is None or self.places is not None:
                return
            try:
                worker.check(request)
            except Refused as refused:
                refusals.append(refused)
            else:
                return
        if refusals:
            raise refusals[0]

    def moved(self) -> None:
        """Say that workers or their engines have come or gone, or have other models now."""
        for job in self._waiting.jobs:
            awaited = self.awaits(job)
            if awaited != self._awaited.get(job.id, NOBODY):
                self._awaited[job.id] = awaited
                self.tell(job, None)
        self._awaited = {id: each for id, each in self._awaited.items() if id in self._waiting}
        self.wake()

    @property
    def waiting(self) -> int:
        """How many jobs wait, as far as is known."""
        return len(self._waiting)

    @property
    def waiting_jobs(self) -> tuple[Job, ...]:
        """Those that wait, as far as is known."""
        return self._waiting.jobs

    def wake(self, job: Job | None = None) -> None:
        """Say that a job was queued: which, or that one must look."""
        if job is None:
            self._waiting.hear_of_some()
        else:
            self._waiting.hear(job)
        for worker in self._nearest(job):
            worker.wake()

    def _nearest(self, job: Job | None) -> Sequence[Worker]:
        """All workers, first those that have the model of a job loaded: of several that rest, the
        first that is woken takes it.
        """
        if job is None:
            return self.workers
        return sorted(self.workers, key=lambda one: one.loaded != job.request.checkpoint)

    async def cancel(self, job_id: int) -> None:
        """Stop a running job at its next denoising step; a waiting one is the store's to cancel."""
        await self.cancel_here(job_id)
        if self.elsewhere is not None and all(job.id != job_id for job in self.running):
            self.elsewhere(job_id)

    async def cancel_here(self, job_id: int) -> None:
        """Stop a job that a worker of this process draws; another is none of its business."""
        for worker in self.workers:
            await worker.cancel(job_id)

    async def plan(self, first: int | None = None, user_id: int | None = None) -> list[Planned]:
        """The waiting jobs in their order, with when each will run and on which worker, also of
        another process.

        With `first` no more than so many, and with `user_id` all of that person's besides.
        """
        hands = [await worker.hand() for worker in self.workers]
        for other in self.others:
            hands.append(other.hand(await self._waiting.estimates(other.status.name)))
        planned = await self._waiting.plan(hands, first, user_id)
        soonest = min((hand.seconds_left for hand in hands), default=0.0)
        return [
            msgspec.structs.replace(
                one,
                seconds_until_start=one.seconds_until_start + soonest,
                seconds_until_done=one.seconds_until_done + soonest,
            )
            for one in planned
        ]

    async def seconds_measured(self, request: GenerationRequest) -> float | None:
        """What a request takes once its model is loaded; None where its model was never timed."""
        return (await self._waiting.estimates()).measured(request)

    async def seconds_left(self, job_id: int) -> float | None:
        """Until a job that runs is done; None where it does not run."""
        for worker in self.workers:
            if worker.current is not None and worker.current.id == job_id:
                return await worker.seconds_left()
        return next((one.seconds_left for one in self.others if one.status.job == job_id), None)

    # what happens

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of all that happens; it must return at once and never raise."""
        self._listeners.append(listener)

    def tell(self, job: Job, event: JobEvent | None = None) -> None:
        """Tell the listeners; also for a change that somebody else made."""
        if event is None or job.ended:
            self._waiting.hear(job)
        if job.ended:
            for worker in self.workers:
                worker.forget(job)
        for listener in self._listeners:
            try:
                listener(job, event)
            except Exception:
                # whoever shows a job can't keep it from being made
                log.exception("a listener failed", job=job.id)
