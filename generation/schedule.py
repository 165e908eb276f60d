"""Which job runs next: pure functions of the jobs that wait and of whose turn it is.

Deficit round robin between people (Shreedhar and Varghese 1995): on each turn a person is credited
the same share, times their weight, and their jobs run while the credit covers what they cost. So
everybody is served the same time, however many jobs they queue and however large these are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from generation.job import Job

ROUNDS_MAX: Final = 50
"""Turns, at most, until the dearest job that waits is covered."""

Cost = Callable[[Job], float]
"""Seconds that a job takes, its model loaded."""


class Turns(msgspec.Struct, frozen=True):
    """Whose turn it is. Nothing of it is kept over a restart: all then begin with equal credit."""

    ring: tuple[int, ...] = ()
    """The people who wait, by user id; the first is at turn."""
    credited: bool = False
    """Whether the first has had this turn's credit."""
    credits: Mapping[int, float] = {}
    """Seconds that each may still use; below 0 for those who went ahead."""
    ahead: float = 0.0
    """Seconds of jobs of the loaded model that went ahead of the one whose turn it was."""


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
    waiting: Sequence[Job], turns: Turns, cost: Cost, *, loaded: str = "", affinity: float = 0.0
) -> list[Job]:
    """All waiting jobs in the order in which they will run, if nobody else asks."""
    left = list(waiting)
    ordered = []
    while left:
        job, turns = next_job(left, turns, cost, loaded=loaded, affinity=affinity)
        loaded = job.request.model
        left.remove(job)
        ordered.append(job)
    return ordered


def next_job(
    waiting: Sequence[Job], turns: Turns, cost: Cost, *, loaded: str = "", affinity: float = 0.0
) -> tuple[Job, Turns]:
    """The job that runs next, and whose turn it is after it.

    A job of the `loaded` model goes ahead of one that needs another, as long as those whose turn
    it is are not delayed by more than `affinity` seconds; it is charged all the same.
    """
    heads = _heads(waiting)
    turns = _turn_to_first_affordable(turns, heads, cost)
    first = heads[turns.ring[0]]
    ahead = [job for job in heads.values() if job.request.model == loaded]
    if first.request.model != loaded and ahead:
        # the one with most credit left is the next of them by right
        chosen = max(ahead, key=lambda job: (turns.credits[_user(job)], -job.id))
        if turns.ahead + cost(chosen) <= affinity:
            return chosen, _charged(turns, chosen, cost, turns.ahead + cost(chosen))
    return first, _charged(turns, first, cost, 0.0)


def _heads(waiting: Sequence[Job]) -> dict[int, Job]:
    """Each person's oldest job: what one person asks for keeps its order."""
    heads: dict[int, Job] = {}
    for job in sorted(waiting, key=lambda job: job.id):
        heads.setdefault(_user(job), job)
    return heads


def _turn_to_first_affordable(turns: Turns, heads: Mapping[int, Job], cost: Cost) -> Turns:
    """Pass the turn on, crediting as it goes, to somebody whose credit covers their next job."""
    costs = {user: cost(job) for user, job in heads.items()}
    share = max(min(costs.values()), max(costs.values()) / ROUNDS_MAX)
    known = [user for user in turns.ring if user in heads]
    ring = [*known, *(user for user in heads if user not in known)]
    credited = turns.credited and ring[0] == turns.ring[0]
    credits = {user: turns.credits.get(user, 0.0) for user in ring}
    while True:
        user = ring[0]
        if not credited:
            credits[user] += share * heads[user].origin.weight
            credited = True
        if costs[user] <= credits[user] + 1e-9:
            return Turns(tuple(ring), credited, credits, turns.ahead)
        ring.append(ring.pop(0))
        credited = False


def _charged(turns: Turns, job: Job, cost: Cost, ahead: float) -> Turns:
    user = _user(job)
    credits = {**turns.credits, user: turns.credits[user] - cost(job)}
    return msgspec.structs.replace(turns, credits=credits, ahead=ahead)


def _user(job: Job) -> int:
    return job.origin.user_id
