"""Which job runs next, of those that wait.

Deficit round robin between people (Shreedhar and Varghese 1995): on each turn a person is credited
the same share, times their weight, and their jobs run while the credit covers what they cost. So
everybody is served the same time, however many jobs they queue and however large these are.

A weight counts against those of the others who wait on the same server: the mean of a server is 1,
so that what a server gives to one of its members it takes from its others and from nobody else's.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from operator import attrgetter
from typing import Final, Protocol

import msgspec

from generation.job import Job
from generation.request import GenerationRequest

ROUNDS_MAX: Final = 50
"""Turns, at most, until the dearest job that waits is covered."""
WORTH_WAITING: Final = 1.0
"""Seconds; nobody is kept waiting to save a swap that takes less, as that of a model in memory."""
ROUNDING: Final = 1e-9
"""Seconds by which sums of credit may be off."""
WEIGHT_PARTS: Final = 1_000_000
"""Weights are counted in so many parts of 1."""
PACE: Final = 100
"""Steps of reckoning, each of a few microseconds, after which a course lets others go first."""
NOTHING: Final[Iterator[Job]] = iter(())


class Times(Protocol):
    """How long things take."""

    def making(self, request: GenerationRequest) -> float:
        """Seconds that a request takes once its model is loaded; more than 0."""

    def loading(self, model: str) -> float:
        """Seconds from a job of another model to the first of this one."""


class Turns(msgspec.Struct, frozen=True):
    """Whose turn it is. Nothing of it is kept over a restart: all then begin with equal credit."""

    ring: tuple[int, ...] = ()
    """Those who wait or are in debt, by user id; the first is at turn."""
    credited: bool = False
    """Whether the first has had this turn's credit."""
    credits: Mapping[int, float] = {}
    """Seconds that each may still use; below 0, in debt, for those who went ahead."""

    @property
    def debt(self) -> float:
        """Seconds of all jobs together that ran ahead of their turn."""
        return math.fsum(-credit for credit in self.credits.values() if credit < 0)


class Course:
    """An iterator over jobs as they will run, which works out no more of it than is asked for.

    In between it gives None, so that whoever reckons in an event loop can let others go first.
    """

    def __init__(
        self,
        own: Mapping[int, Sequence[Job]],
        turns: Turns,
        costs: MutableMapping[int, float],
        times: Times,
        loaded: str,
        affinity: float,
        first: tuple[Job, ...] = (),
        runs: Callable[[Job], bool] | None = None,
    ) -> None:
        self._first = first
        """Of which it is settled that they run first, so that the turns are those after them."""
        self._own = own
        self._runs = runs
        self._left: dict[int, Iterator[Job]] = {}
        """What follows everybody's oldest job."""
        self._known_costs = costs
        self._heads: dict[int, Job] = {}
        """Everybody's oldest job, and below what it costs."""
        self._costs: dict[int, float] = {}
        self._times = times
        self.loaded = loaded
        """The model that whoever takes the next job has loaded."""
        self._affinity = affinity
        self._weights: dict[int | None, _Weights] = {}
        """Of those who wait, by server."""
        self._models: dict[str, set[int]] = {}
        """Whose oldest job is for a model."""
        self._cheapest: list[tuple[float, int, int]] = []
        self._dearest: list[tuple[float, int, int]] = []
        """Heaps of (cost, job, user), the second with costs below 0; some are no heads any more."""
        self._begin(turns)
        self._jobs = self._reckon()

    def _begin(self, turns: Turns) -> None:
        self._credits = dict(turns.credits)
        self._ring = deque(turns.ring)
        self._credited = turns.credited
        self._absent: set[int] = set()
        self._debtors = {user for user, credit in turns.credits.items() if credit < 0}

    def __iter__(self) -> Iterator[Job | None]:
        return self

    def __next__(self) -> Job | None:
        return next(self._jobs)

    @property
    def turns(self) -> Turns:
        """Whose turn it is after the job that it gave last."""
        return Turns(tuple(self._ring), self._credited, dict(self._credits))

    def _reckon(self) -> Iterator[Job | None]:
        yield from self._first
        oldest = []
        for count, (user, own) in enumerate(self._own.items()):
            if len(own) == 1:
                if self._runs is None or self._runs(own[0]):
                    oldest.append(own[0])
            else:
                # a copy: jobs come and go while others go first
                left = filter(self._runs, tuple(own)) if self._runs else iter(tuple(own))
                self._left[user] = left
                oldest.extend(itertools.islice(left, 1))
            if count % PACE == 0:
                yield None
        known = set(self._ring)
        for count, job in enumerate(sorted(oldest, key=attrgetter("id"))):
            self._lead(job)
            if owner_of(job) not in known:
                self._ring.append(owner_of(job))
                self._credits.setdefault(owner_of(job), 0.0)
            if count % PACE == 0:
                yield None
        self._absent = known.difference(self._heads)
        while self._heads:
            self._forget_absent()
            yield from self._pass_turn()
            job = self._choose()
            self._charge(job)
            self.loaded = job.request.checkpoint or self.loaded
            yield job

    def _lead(self, job: Job) -> None:
        """Note that a job is the oldest of its owner."""
        user = owner_of(job)
        if job.id not in self._known_costs:
            self._known_costs[job.id] = self._times.making(job.request)
        self._costs[user] = cost = self._known_costs[job.id]
        self._heads[user] = job
        self._weights.setdefault(job.origin.guild_id, _Weights()).add(job.origin.weight)
        self._models.setdefault(job.request.checkpoint, set()).add(user)
        heapq.heappush(self._cheapest, (cost, job.id, user))
        heapq.heappush(self._dearest, (-cost, job.id, user))

    def _forget_absent(self) -> None:
        """Take those out of the ring who left the queue and owe nothing."""
        for user in [user for user in self._absent if self._credits[user] >= -ROUNDING]:
            self._absent.discard(user)
            del self._credits[user]
            self._credited = self._credited and self._ring[0] != user
            self._ring.remove(user)

    def _pass_turn(self) -> Iterator[None]:
        """Pass the turn on, crediting as it goes, to somebody whose credit covers their job."""
        share = max(self._top(self._cheapest), -self._top(self._dearest) / ROUNDS_MAX)
        ring, credits, heads, costs = self._ring, self._credits, self._heads, self._costs
        steps = 0
        while True:
            user = ring[0]
            job = heads.get(user)
            if not self._credited:
                credits[user] += share * (1.0 if job is None else self._weight(job))
                self._credited = True
            if job is not None and costs[user] <= credits[user] + ROUNDING:
                return
            ring.rotate(-1)
            self._credited = False
            if job is None and credits[user] >= 0:
                # no longer there, and the debt is paid
                ring.pop()
                del credits[user]
                self._absent.discard(user)
            steps += 1
            if steps % PACE == 0:
                yield None

    def _weight(self, job: Job) -> float:
        """The weight of a job's owner by the mean of all who wait on their server."""
        return job.origin.weight / self._weights[job.origin.guild_id].mean

    def _top(self, heap: list[tuple[float, int, int]]) -> float:
        """The first of a heap that is still the oldest job of its owner."""
        while True:
            cost, job_id, user = heap[0]
            head = self._heads.get(user)
            if head is not None and head.id == job_id:
                return cost
            heapq.heappop(heap)

    def _choose(self) -> Job:
        """The job of whose turn it is, or one of the loaded model that may go ahead of it."""
        first = self._heads[self._ring[0]]
        model = first.request.checkpoint
        if model == self.loaded or self._times.loading(model) < WORTH_WAITING:
            return first
        debt = self._debt()
        ahead = [
            (credit, -job.id, job)
            for user in self._models.get(self.loaded, ())
            for job, credit in ((self._heads[user], self._credits[user]),)
            if debt + _lent(credit, self._costs[user]) <= self._affinity + ROUNDING
        ]
        # the one with most credit left is the next of them by right
        return max(ahead)[2] if ahead else first

    def _debt(self) -> float:
        self._debtors = {user for user in self._debtors if self._credits.get(user, 0.0) < 0}
        return math.fsum(-self._credits[user] for user in self._debtors)

    def _charge(self, job: Job) -> None:
        """Take a job's cost off its owner's credit, and have their next one lead."""
        user = owner_of(job)
        self._credits[user] -= self._costs[user]
        if self._credits[user] < 0:
            self._debtors.add(user)
        del self._heads[user]
        self._weights[job.origin.guild_id].discard(job.origin.weight)
        self._models[job.request.checkpoint].discard(user)
        follows = next(self._left.get(user, NOTHING), None)
        if follows is not None:
            self._lead(follows)
        else:
            self._absent.add(user)


class _Weights:
    """Weights that come and go, and their mean: in whole parts, so that no rounding adds up."""

    def __init__(self) -> None:
        self._sum = self._count = 0

    def add(self, weight: float) -> None:
        """Count one more."""
        self._sum += round(weight * WEIGHT_PARTS)
        self._count += 1

    def discard(self, weight: float) -> None:
        """Count one less."""
        self._sum -= round(weight * WEIGHT_PARTS)
        self._count -= 1

    @property
    def mean(self) -> float:
        """Of those that are there."""
        return self._sum / self._count / WEIGHT_PARTS


def _lent(credit: float, cost: float) -> float:
    """By how much a person's debt grows when they use so many seconds."""
    return max(0.0, cost - credit) - max(0.0, -credit)


def owner_of(job: Job) -> int:
    """Who asked for a job."""
    return job.origin.user_id
