"""Which job runs next: pure functions of the jobs that wait."""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime

from generation.job import Job

Starts = Mapping[int, datetime]
"""When a job of each person was last begun, by user id."""


def order(waiting: Iterable[Job], starts: Starts | None = None) -> list[Job]:
    """The jobs in the order in which they will run.

    People take turns: whoever had none for longest is next, so that one person who asks for twenty
    pictures delays the others by one of them. Turns from before anybody who waits now had asked do
    not count; among equals, first come first served.
    """
    jobs = sorted(waiting, key=lambda job: job.id)
    if not jobs:
        return []
    since = min(job.created_at for job in jobs)
    queues: dict[int, deque[Job]] = {}
    for job in jobs:
        queues.setdefault(job.origin.user_id, deque()).append(job)
    earlier = {user: when for user, when in (starts or {}).items() if when >= since}
    ranks = {user: rank for rank, user in enumerate(sorted(earlier, key=earlier.__getitem__), 1)}
    turns = {user: ranks.get(user, 0) for user in queues}
    ordered: list[Job] = []
    while queues:
        user = min(queues, key=lambda user: (turns[user], queues[user][0].id))
        ordered.append(queues[user].popleft())
        turns[user] = len(ranks) + len(ordered)
        if not queues[user]:
            del queues[user]
    return ordered
