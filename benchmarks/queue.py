"""How long the queue's order stops the event loop, at each job's start and end.

    python -m benchmarks.queue [--people 1000] [--sizes 100,1000,5000]

The bot's own queue beside the reference that begins anew at each call, on the same jobs in the same
run. `asked` is what is worked out: the next job, the first ten places (`/queue`), or all of them.
The reference works it out in one go; the queue in slices, and only the longest of them stops the
loop.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks.fairness import MACHINE, MODELS, a_request
from bot.config import QueueSettings
from generation.estimate import Estimates, Hand, Measurement
from generation.job import Job, JobState, Origin
from generation.waiting_jobs import WaitingJobs
from tests.fixtures import reference_schedule as reference

SEED: Final = 4
SHOWN: Final = 10
ROUNDS: Final = 3
AFFINITY: Final = QueueSettings().model_affinity


class Store:
    """The jobs of a queue as the database would give them."""

    def __init__(self, jobs: Sequence[Job], measured: Sequence[Measurement]) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._measured = measured

    async def waiting_ids(self) -> Sequence[int]:
        return list(self._jobs)

    async def waiting(self, only: Sequence[int] | None = None) -> Sequence[Job]:
        return [self._jobs[number] for number in only or self._jobs]

    async def measurements(self) -> Sequence[Measurement]:
        return self._measured


def main() -> int:
    """Print the milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--sizes", default="100,1000,5000", help="jobs that wait")
    options = parser.parse_args()
    print(f"{'jobs':>6}{'asked':>8}{'reference ms':>14}{'queue ms':>10}{'ratio':>8}{'CPU ms':>8}")
    for size in options.sizes.split(","):
        asyncio.run(measure(int(size), options.people))
    return 0


async def measure(size: int, people: int) -> None:
    """A line for each thing that is asked."""
    chance = random.Random(SEED)
    jobs = [a_job(number, chance, people) for number in range(1, size + 1)]
    requests = [a_request(chance, chance.choice(MODELS)) for _ in range(300)]
    measured = [Measurement(request, MACHINE.seconds(request), 0.0) for request in requests]
    estimates = Estimates(measured)
    loaded = MODELS[0]

    def first() -> object:
        turns = reference.Turns()
        return reference.next_job(jobs, turns, estimates, loaded=loaded, affinity=AFFINITY)

    def everything() -> object:
        turns = reference.Turns()
        return reference.order(jobs, turns, estimates, loaded=loaded, affinity=AFFINITY)

    old_next, old_all = in_one_go(first), in_one_go(everything)
    waiting = WaitingJobs(Store(jobs, measured), AFFINITY)  # type: ignore[arg-type]
    await waiting.look()
    ended = measured[0]
    hands = [Hand("main", loaded, estimates)]
    for asked, old, new in (
        ("next", old_next, lambda: waiting.next("main", loaded)),
        (f"{SHOWN}", old_all, lambda: waiting.plan(hands, SHOWN, 1)),
        ("all", old_all, lambda: waiting.plan(hands)),
    ):
        stops, works = [], []
        for _ in range(ROUNDS):
            # a job has ended: what each costs is known anew, and nothing worked out before holds
            stopped, worked = await in_slices(lambda: waiting.measure(ended), new)
            stops.append(stopped)
            works.append(worked)
        new_ms = min(stops) * 1000
        print(
            f"{size:>6}{asked:>8}{old * 1000:>14.1f}{new_ms:>10.1f}{new_ms / old / 1000:>8.3f}"
            f"{min(works) * 1000:>8.0f}"
        )


def a_job(number: int, chance: random.Random, people: int) -> Job:
    """Of somebody, for one of two models."""
    user = number if number <= people else chance.randint(1, people)
    return Job(
        id=number,
        state=JobState.QUEUED,
        request=a_request(chance, MODELS[user % len(MODELS)]),
        origin=Origin(user_id=user, user_name=f"person {user}"),
        created_at=datetime.now(UTC),
    )


def in_one_go(act: Callable[[], object]) -> float:
    """Seconds of CPU, in which the loop stands still."""
    began = time.process_time()
    act()
    return time.process_time() - began


async def in_slices(
    begin: Callable[[], None], act: Callable[[], Awaitable[Any]]
) -> tuple[float, float]:
    """The longest that the loop stands still, and the CPU that all of it takes, in seconds.

    By the process's own clock of CPU time, so that other programs don't count.
    """
    longest, running = 0.0, True

    async def watch() -> None:
        nonlocal longest
        while running:
            began = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - began)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began = time.process_time()
    begin()
    await act()
    worked = time.process_time() - began
    running = False
    await watching
    return longest, worked


if __name__ == "__main__":
    sys.exit(main())
