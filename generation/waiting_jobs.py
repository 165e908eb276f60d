"""The jobs that wait, in memory: kept in step with the store, and told when each will run."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final

import msgspec

from generation import estimate, schedule
from generation.course import Turns
from generation.estimate import MEASURED, Estimates, Hand, Measurement
from generation.job import Job, JobState
from generation.job_queue import JobQueue
from generation.schedule import Planned

LOOK_AGAIN_AFTER: Final = 1.0
"""Seconds; the command line of another process queues jobs too and can't tell us."""
READ_AT_ONCE: Final = 50
"""Jobs, whose rows are decoded in the event loop."""
SLICE: Final = 0.003
"""Seconds of reckoning after which the event loop serves others."""


Runs = Callable[[Job], bool]
"""Whether a worker can run a job."""


class WaitingJobs:
    """Whatever this process queues or cancels is told to it; the rest it finds by itself."""

    def __init__(self, store: JobQueue, affinity: float) -> None:
        self._store = store
        self._queue = schedule.Queue(affinity)
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self.choosing = asyncio.Lock()
        """Held from `next` to `take`, so that two workers don't choose by the same turns."""
        self._measured: deque[Measurement] | None = None
        self._estimates: dict[str, Estimates] = {}
        """By worker; those of all together by ""."""
        self._outlook: _Outlook | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._queue

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All that wait, as far as is known."""
        return self._queue.all

    def hear(self, job: Job) -> None:
        """Learn that a job was queued, or that it waits no more."""
        if job.state is JobState.QUEUED:
            self._queue.add(job)
        else:
            self._queue.discard(job.id)

    def hear_of_some(self) -> None:
        """Learn that jobs were queued, but not which."""
        self._looked = float("-inf")

    def discard(self, job_id: int) -> None:
        """Forget a job that waits no more."""
        self._queue.discard(job_id)

    async def look(self, *, again: bool = False) -> None:
        """Find what others have queued or cancelled; seldom, unless it is to look `again` now."""
        async with self._looking:
            if not again and time.monotonic() - self._looked < LOOK_AGAIN_AFTER:
                return
            known = self._queue.ids
            there = set(await self._store.waiting_ids())
            for gone in known - there:
                self._queue.discard(gone)
            new = sorted(there - known - self._queue.ids)
            for start in range(0, len(new), READ_AT_ONCE):
                for job in await self._store.waiting(new[start : start + READ_AT_ONCE]):
                    self._queue.add(job)
                await asyncio.sleep(0)
            self._looked = time.monotonic()

    async def next(
        self, worker: str, loaded: str, runs: Runs | None = None
    ) -> tuple[Job, Turns] | None:
        """The job that a worker runs next, to be taken with these turns; None where none waits that
        it can run.
        """
        await self.look(again=not self._queue)
        found = await self._first(worker, loaded, runs)
        if not self._queue:
            self._queue.rest()
        return found

    async def hold_next(self, worker: str, loaded: str, runs: Runs | None = None) -> Job | None:
        """The job that is next after the one which a worker runs, of the model that is `loaded`.

        `next` gives it then to that worker, whoever comes meanwhile, unless it waits no more or is
        let go.
        """
        await self.look()
        async with self.choosing:
            found = await self._first(worker, loaded, runs)
            if found is None:
                return None
            self._queue.hold(worker, *found)
        return found[0]

    def holds(self, job_id: int) -> bool:
        """Whether this job is one that `hold_next` gave, and waits still."""
        return self._queue.holds(job_id)

    def release(self, worker: str) -> None:
        """Let the job that was held for a worker wait as the others do."""
        self._queue.release(worker)

    async def _first(self, worker: str, loaded: str, runs: Runs | None) -> tuple[Job, Turns] | None:
        estimates = await self.estimates()
        course = self._queue.course(estimates, loaded=loaded, worker=worker, runs=runs)
        await asyncio.sleep(0)
        breath = Breath()
        for job in course:
            if job is not None:
                return job, course.turns
            await breath.take()
        return None

    def take(self, job: Job, turns: Turns) -> None:
        """Let a job run that `next` gave."""
        self._queue.take(job, turns)

    async def plan(
        self, hands: Sequence[Hand], first: int | None = None, user_id: int | None = None
    ) -> list[Planned]:
        """The `first` so many jobs, or all, and somebody's own, in their order, with when each will
        run on those workers, whose `seconds_left` count until the first of them is free.
        """
        await self.look()
        soonest = min((hand.seconds_left for hand in hands), default=0.0)
        outlook = await self._look_ahead(hands, soonest)
        own = {job.id for job in self._queue.of(user_id)} if user_id is not None else set()
        chosen = []
        async for planned in outlook:
            if first is None or planned.place < first or planned.job.id in own:
                chosen.append(planned)
            own.discard(planned.job.id)
            if first is not None and planned.place + 1 >= first and not own:
                break
        return chosen

    async def _look_ahead(self, hands: Sequence[Hand], soonest: float) -> "_Outlook":
        """What was worked out before, as far as it still holds; counted from `soonest`."""
        estimates = await self.estimates()
        hands = [
            msgspec.structs.replace(
                hand, seconds_left=float(round(hand.seconds_left - soonest)) * (len(hands) > 1)
            )
            for hand in hands
        ]
        states = tuple((hand.name, hand.loaded, hand.seconds_left) for hand in hands)
        key = (self._queue.version, estimates, states)
        if self._outlook is None or self._outlook.key != key:
            course = self._queue.whole_course(estimates)
            outlook = _Outlook(key, estimate.plan(course, hands, self._queue.held_for()))
            self._outlook = outlook
            await asyncio.sleep(0)
            return outlook
        return self._outlook

    async def estimates(self, worker: str = "") -> Estimates:
        """How long things take, by what was measured so far: by all workers, or first of all by
        this one.
        """
        if self._measured is None:
            measured = [_bare(one) for one in await self._store.measurements()]
            self._measured = deque(measured, maxlen=MEASURED)
        if "" not in self._estimates:
            self._estimates[""] = Estimates(self._measured)
            await asyncio.sleep(0)
        everybody = self._estimates[""]
        if worker and worker not in self._estimates:
            own = [one for one in self._measured if one.worker == worker]
            alone = all(one.worker in (worker, "") for one in self._measured)
            self._estimates[worker] = everybody if alone else Estimates(own, everybody)
            await asyncio.sleep(0)
        return self._estimates.get(worker, everybody)

    def measure(self, measured: Measurement) -> None:
        """Learn how long a job took that has ended now; before anybody asked, the store knows."""
        if self._measured is not None:
            self._measured.appendleft(_bare(measured))
            self._estimates.clear()


class _Outlook:
    """When each job will run, worked out once for all who ask, no further than they ask."""

    def __init__(self, key: "_Key", coming: Iterator[Planned | None]) -> None:
        self.key = key
        self._coming = coming
        self._known: list[Planned] = []

    async def __aiter__(self) -> AsyncIterator[Planned]:
        breath = Breath()
        for place in itertools.count():
            while place >= len(self._known):
                try:
                    planned = next(self._coming)
                except StopIteration:
                    return
                if planned is not None:
                    self._known.append(planned)
                await breath.take()
            yield self._known[place]


class Breath:
    """Lets others go first after each slice of reckoning."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def take(self) -> None:
        if time.perf_counter() - self._since >= SLICE:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


_Key = tuple[int, Estimates, tuple[tuple[str, str, float], ...]]


def _bare(measured: Measurement) -> Measurement:
    """Without what somebody wrote, which nobody may keep longer than they do."""
    request = msgspec.structs.replace(measured.request, prompt="", negative_prompt="")
    return msgspec.structs.replace(measured, request=request)
