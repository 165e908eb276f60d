"""The jobs that wait, and whose turn it is: generation/course.py says which of them runs next."""

import bisect
from collections.abc import Callable, Sequence
from operator import attrgetter

import msgspec

from generation.course import Course, Times, Turns, owner_of
from generation.job import Job


class Planned(msgspec.Struct, frozen=True):
    """A waiting job and when it will run, in seconds from now."""

    job: Job
    place: int
    """Jobs that run before it, the one that runs now left out."""
    seconds_until_start: float
    seconds_until_done: float
    swap: bool
    """Whether another model must be loaded for it."""
    worker: str = ""
    """Who will run it, as it looks now."""


class Queue:
    """The jobs that wait, each person's in the order of their asking, and whose turn it is.

    A job of the loaded model goes ahead of one that needs another, as long as all that ran ahead of
    its turn, and delays the others, is no more than `affinity` seconds; it is charged all the same,
    so that the others catch up.
    """

    def __init__(self, affinity: float = 0.0) -> None:
        self.turns = Turns()
        self.version = 0
        """Grows with each change: what was reckoned before holds no longer."""
        self._affinity = affinity
        self._jobs: dict[int, Job] = {}
        self._own: dict[int, list[Job]] = {}
        self._times: Times | None = None
        self._costs: dict[int, float] = {}
        """What jobs cost by those times, as far as somebody asked."""
        self._held: dict[str, _Held] = {}
        """By worker, the job that it runs next whoever comes."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._jobs

    @property
    def ids(self) -> frozenset[int]:
        """The numbers of all that wait."""
        return frozenset(self._jobs)

    @property
    def all(self) -> tuple[Job, ...]:
        """All that wait, in the order of their coming."""
        return tuple(self._jobs.values())

    def of(self, user_id: int) -> Sequence[Job]:
        """One person's jobs that wait, oldest first."""
        return tuple(self._own.get(user_id, ()))

    def add(self, job: Job) -> None:
        """Let a job wait; one that waits already stays where it is."""
        if job.id not in self._jobs:
            self.version += 1
            self._jobs[job.id] = job
            bisect.insort(self._own.setdefault(owner_of(job), []), job, key=attrgetter("id"))

    def discard(self, job_id: int) -> None:
        """Let a job wait no more; one that does not is no error."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        self.version += 1
        for worker in [name for name, held in self._held.items() if held.job.id == job_id]:
            self.release(worker)
        self._costs.pop(job_id, None)
        own = self._own[owner_of(job)]
        del own[bisect.bisect_left(own, job_id, key=attrgetter("id"))]
        if not own:
            del self._own[owner_of(job)]

    def hold(self, worker: str, job: Job, turns: Turns) -> None:
        """Have the first of a course run next on a worker whoever comes: it is charged at once, and
        the others go on as its course said.
        """
        if job.id in self._jobs:
            self.version += 1
            cost = self._costs.get(job.id, 0.0)
            self._held[worker] = _Held(job, cost, before=self.turns, after=turns)
            self.turns = turns

    def holds(self, job_id: int) -> bool:
        """Whether this job runs next on some worker whoever comes."""
        return any(held.job.id == job_id for held in self._held.values())

    def release(self, worker: str) -> None:
        """Let the job that was held for a worker wait as the others do, and give back its cost."""
        held = self._held.pop(worker, None)
        if held is None:
            return
        self.version += 1
        if self.turns is held.after:
            # nobody was served since
            self.turns = held.before
        else:
            self.turns = _refunded(self.turns, owner_of(held.job), held.cost)

    def take(self, job: Job, turns: Turns) -> None:
        """Let a job run, after which it is the turn that its course said."""
        held = [name for name, held in self._held.items() if held.job.id == job.id]
        for worker in held:
            del self._held[worker]
        self.discard(job.id)
        self.version += 1
        if not held:
            self.turns = turns

    def rest(self) -> None:
        """Nobody waits: who comes next has nobody to catch up with."""
        self.turns = Turns()
        self._costs.clear()

    def course(
        self,
        times: Times,
        *,
        loaded: str = "",
        worker: str = "",
        runs: Callable[[Job], bool] | None = None,
    ) -> "Course":
        """The jobs that wait now in the order in which they will run, if nobody else asks: first
        that which is held for this worker, and not those that are held for others. With `runs`,
        only those of which it is true.
        """
        if times is not self._times:
            self._times, self._costs = times, {}
        held = self._held.get(worker)
        first = () if held is None else (held.job,)
        return self._course(times, first, loaded, runs)

    def whole_course(self, times: Times, *, loaded: str = "") -> "Course":
        """All jobs that wait, of whatever worker: first those that are held."""
        if times is not self._times:
            self._times, self._costs = times, {}
        return self._course(times, tuple(held.job for held in self._held.values()), loaded)

    def held_for(self) -> dict[int, str]:
        """Which worker each job is held for, by its number."""
        return {held.job.id: worker for worker, held in self._held.items()}

    def _course(
        self,
        times: Times,
        first: tuple[Job, ...],
        loaded: str,
        runs: Callable[[Job], bool] | None = None,
    ) -> "Course":
        own = dict(self._own)
        for held in self._held.values():
            user = owner_of(held.job)
            own[user] = [job for job in own[user] if job.id != held.job.id]
        if first:
            loaded = first[-1].request.checkpoint or loaded
        return Course(own, self.turns, self._costs, times, loaded, self._affinity, first, runs)


class _Held(msgspec.Struct, frozen=True):
    """A job that a worker runs next, what it cost its owner, and the turns before and after it."""

    job: Job
    cost: float
    before: Turns
    after: Turns


def _refunded(turns: Turns, user: int, cost: float) -> Turns:
    """Those turns, with what a job cost given back to its owner."""
    credits = {**turns.credits, user: turns.credits.get(user, 0.0) + cost}
    ring = turns.ring if user in turns.ring else (*turns.ring, user)
    return Turns(ring, turns.credited, credits)
