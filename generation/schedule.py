"""Which job runs next: pure functions of the jobs that wait and of whose turn it is.

Deficit round robin between people (Shreedhar and Varghese 1995): on each turn a person is credited
the same share, times their weight, and their jobs run while the credit covers what they cost. So
everybody is served the same time, however many jobs they queue and however large these are.
"""

from collections import deque
from collections.abc import Mapping, Sequence
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
        return sum(-credit for credit in self.credits.values() if credit < 0)


class Planned(msgspec.Struct, frozen=True):
    """A waiting job and when it will run, in seconds from now."""

    job: Job
    place: int
    """Jobs that run before it, the one that runs now left out."""
    seconds_until_start: float
    seconds_until_done: float
    swap: bool
    """Whether another model must be loaded for it."""


def order(
    waiting: Sequence[Job], turns: Turns, times: Times, *, loaded: str = "", affinity: float = 0.0
) -> list[Job]:
    """All waiting jobs in the order in which they will run, if nobody else asks."""
    costs = {job.id: times.making(job.request) for job in waiting}
    queues: dict[int, deque[Job]] = {}
    for job in sorted(waiting, key=lambda job: job.id):
        queues.setdefault(_user(job), deque()).append(job)
    ordered = []
    while queues:
        heads = {user: queue[0] for user, queue in queues.items()}
        job, turns = _next(heads, turns, costs, times, loaded, affinity)
        loaded = job.request.model
        ordered.append(job)
        queues[_user(job)].popleft()
        if not queues[_user(job)]:
            del queues[_user(job)]
    return ordered


def next_job(
    waiting: Sequence[Job], turns: Turns, times: Times, *, loaded: str = "", affinity: float = 0.0
) -> tuple[Job, Turns]:
    """The job that runs next, and whose turn it is after it.

    A job of the `loaded` model goes ahead of one that needs another, as long as all that ran ahead
    of its turn, and delays the others, is no more than `affinity` seconds; it is charged all the
    same, so that the others catch up.
    """
    # what one person asks for keeps its order
    heads: dict[int, Job] = {}
    for job in waiting:
        other = heads.get(_user(job))
        if other is None or job.id < other.id:
            heads[_user(job)] = job
    heads = dict(sorted(heads.items(), key=lambda head: head[1].id))
    costs = {job.id: times.making(job.request) for job in heads.values()}
    return _next(heads, turns, costs, times, loaded, affinity)


def _next(
    heads: Mapping[int, Job],
    turns: Turns,
    costs: Mapping[int, float],
    times: Times,
    loaded: str,
    affinity: float,
) -> tuple[Job, Turns]:
    """`next_job` of each person's oldest job and of what these cost, by their ids."""
    turns = _turn_to_first_affordable(turns, heads, costs)
    chosen = first = heads[turns.ring[0]]
    if first.request.model != loaded and times.loading(first.request.model) >= WORTH_WAITING:
        debt = turns.debt
        ahead = [
            job
            for user, job in heads.items()
            if job.request.model == loaded
            and debt + _lent(turns.credits[user], costs[job.id]) <= affinity + ROUNDING
        ]
        # the one with most credit left is the next of them by right
        chosen = max(ahead, key=lambda job: (turns.credits[_user(job)], -job.id), default=first)
    user = _user(chosen)
    credits = {**turns.credits, user: turns.credits[user] - costs[chosen.id]}
    return chosen, msgspec.structs.replace(turns, credits=credits)


def _turn_to_first_affordable(
    turns: Turns, heads: Mapping[int, Job], costs: Mapping[int, float]
) -> Turns:
    """Pass the turn on, crediting as it goes, to somebody whose credit covers their next job."""
    wanted = [costs[job.id] for job in heads.values()]
    share = max(min(wanted), max(wanted) / ROUNDS_MAX)
    known = [user for user in turns.ring if user in heads or turns.credits[user] < -ROUNDING]
    ring = deque(dict.fromkeys((*known, *heads)))
    credited = turns.credited and ring[0] == turns.ring[0]
    credits = {user: turns.credits.get(user, 0.0) for user in ring}
    while True:
        user, job = ring[0], heads.get(ring[0])
        if not credited:
            credits[user] += share * (1.0 if job is None else job.origin.weight)
            credited = True
        if job is not None and costs[job.id] <= credits[user] + ROUNDING:
            return Turns(tuple(ring), credited, credits)
        ring.rotate(-1)
        credited = False
        if job is None and credits[user] >= 0:
            # no longer there, and the debt is paid
            ring.pop()
            del credits[user]


def _lent(credit: float, cost: float) -> float:
    """By how much a person's debt grows when they use so many seconds."""
    return max(0.0, cost - credit) - max(0.0, -credit)


def _user(job: Job) -> int:
    return job.origin.user_id
