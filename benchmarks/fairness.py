"""How long people wait when one of them floods the queue.

    python -m benchmarks.fairness [--people 100] [--hours 4] [--flood 300]

A simulated machine and two models, of which each person prefers one; everybody asks now and then,
and one person asks for everything at once. The same requests are drawn in the bot's order, with and
without its going ahead with the loaded model, and first come first served. The bot's order knows
only what it has measured so far; no job takes quite what the last of its kind took.
"""

import argparse
import itertools
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from bot.config import QueueSettings
from generation import schedule
from generation.estimate import Estimates, Measurement, Speed
from generation.job import Job, JobState, Origin
from generation.request import GenerationRequest

FLOODER: Final = 0
MODELS: Final = ("photo", "anime")
LOYALTY: Final = 0.9
"""How often a person asks for the model that they prefer."""
MACHINE: Final = Speed(step=0.25, fixed=1.0)
LOADING: Final = 8.0
"""Seconds to swap models."""
JITTER: Final = 0.1
"""Standard deviation of the logarithm of how long a job takes."""
LOAD: Final = 0.7
"""Of the machine's time, what all but the flooder ask for."""
MEASURED: Final = 100
"""Jobs that the bot's estimates go by."""
SEED: Final = 4


class Asked(msgspec.Struct, frozen=True):
    """A job, when it was asked for, and how long it takes on this machine, in seconds."""

    job: Job
    at: float
    seconds: float


class Served(msgspec.Struct, frozen=True):
    """When a job began, a swap of models included, and ended."""

    asked: Asked
    began: float
    ended: float

    @property
    def waited(self) -> float:
        """Seconds from asking until it began."""
        return self.began - self.asked.at


Pick = Callable[[Sequence[Job], str, Sequence[Measurement]], Job]
"""The next of the jobs that wait, by the model that is loaded and what was measured so far."""


def main() -> int:
    """Serve the same requests in each order and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--flood", type=int, default=300, help="requests of the one who floods")
    options = parser.parse_args()
    everything = asked(options.people, options.hours * 3600, options.flood)
    affinity = QueueSettings().model_affinity
    found = {
        "first come first served": serve(everything, first_come),
        "turns": serve(everything, by_turns(0.0)),
        f"turns, {affinity:.0f} s ahead": serve(everything, by_turns(affinity)),
    }
    print_waits(found)
    print_fairness(found)
    print_servers()
    return 0


def asked(people: int, seconds: float, flood: int) -> list[Asked]:
    """Everything that is asked for, in order of time; the flood comes after a tenth of it."""
    chance = random.Random(SEED)
    liked = [chance.choice(MODELS) for _ in range(people)]
    work = 0.0
    drawn: list[tuple[float, int, GenerationRequest]] = []
    while work < LOAD * seconds:
        user = chance.randrange(1, people)
        drawn.append((chance.uniform(0, seconds), user, a_request(chance, liked[user])))
        work += MACHINE.seconds(drawn[-1][2])
    for _ in range(flood):
        drawn.append((seconds / 10, FLOODER, a_request(chance, liked[FLOODER])))
    drawn.sort(key=lambda one: one[:2])
    return [
        Asked(
            Job(
                id=number,
                state=JobState.QUEUED,
                request=request,
                origin=Origin(user_id=user, user_name=f"person {user}"),
                created_at=datetime.fromtimestamp(at, UTC),
            ),
            at,
            MACHINE.seconds(request) * chance.lognormvariate(0, JITTER),
        )
        for number, (at, user, request) in enumerate(drawn, 1)
    ]


def a_request(chance: random.Random, liked: str) -> GenerationRequest:
    """What somebody asks for: one to four pictures, square or not, of 15 to 50 steps."""
    width, height = chance.choice(((512, 512), (512, 768), (768, 512), (768, 768)))
    return GenerationRequest(
        prompt="a lighthouse at dusk",
        model=liked if chance.random() < LOYALTY else chance.choice(MODELS),
        width=width,
        height=height,
        steps=chance.randint(15, 50),
        guidance_scale=7.0,
        sampler="Euler a",
        seed=0,
        count=chance.choice((1, 2, 4)),
    )


def first_come(waiting: Sequence[Job], _loaded: str, _measured: Sequence[Measurement]) -> Job:
    """The oldest."""
    return min(waiting, key=lambda job: job.id)


def by_turns(affinity: float) -> Pick:
    """As the bot picks, with jobs of the loaded model so many seconds ahead."""
    queue = schedule.Queue(affinity)

    def pick(waiting: Sequence[Job], loaded: str, measured: Sequence[Measurement]) -> Job:
        for job in waiting:
            queue.add(job)
        course = queue.course(Estimates(measured), loaded=loaded)
        job = next(job for job in course if job is not None)
        queue.take(job, course.turns)
        return job

    return pick


def serve(everything: Sequence[Asked], pick: Pick, until: float = math.inf) -> list[Served]:
    """One machine draws all of it; in the order of drawing."""
    coming = deque(everything)
    waiting: dict[int, Asked] = {}
    measured: deque[Measurement] = deque(maxlen=MEASURED)
    served: list[Served] = []
    clock, loaded = 0.0, ""
    while (coming or waiting) and clock < until:
        if not waiting:
            clock = max(clock, coming[0].at)
        while coming and coming[0].at <= clock:
            one = coming.popleft()
            waiting[one.job.id] = one
        job = pick([one.job for one in waiting.values()], loaded, measured)
        one = waiting.pop(job.id)
        loading = 0.0 if job.request.model == loaded else LOADING
        loaded = job.request.model
        served.append(Served(one, clock, clock + loading + one.seconds))
        measured.appendleft(Measurement(job.request, loading + one.seconds, loading))
        clock = served[-1].ended
    return served


def print_waits(found: dict[str, list[Served]]) -> None:
    """Seconds from asking to the beginning, and their ratio to those of the first order."""
    print(
        f"{'order':<26}{'waiting':<12}{'jobs':>6}{'mean s':>9}{'median':>9}{'p95':>9}"
        f"{'mean ratio':>12}{'p95 ratio':>11}"
    )
    base: dict[str, tuple[float, float]] = {}
    for name, served in found.items():
        groups = {
            "the flooder": [one.waited for one in served if user(one) == FLOODER],
            "the others": [one.waited for one in served if user(one) != FLOODER],
        }
        for who, waits in groups.items():
            mean, p95 = statistics.fmean(waits), percentile(waits, 95)
            first_mean, first_p95 = base.setdefault(who, (mean, p95))
            print(
                f"{name:<26}{who:<12}{len(waits):>6}{mean:>9.0f}{statistics.median(waits):>9.0f}"
                f"{p95:>9.0f}{mean / first_mean:>12.3f}{p95 / first_p95:>11.3f}"
            )


def print_fairness(found: dict[str, list[Served]]) -> None:
    """Jain's index of what each person got of the machine while they asked for it, and swaps."""
    print(f"\n{'order':<26}{'Jain index':>11}{'swaps':>8}{'ratio':>8}{'hours':>8}")
    first_swaps = 0
    for name, served in found.items():
        models = [one.asked.job.request.model for one in served]
        swaps = 1 + sum(before != after for before, after in itertools.pairwise(models))
        first_swaps = first_swaps or swaps
        print(
            f"{name:<26}{jain(shares(served)):>11.3f}{swaps:>8}{swaps / first_swaps:>8.3f}"
            f"{served[-1].ended / 3600:>8.2f}"
        )


def print_servers() -> None:
    """What a server gets that gives its members weights, beside one that gives none.

    Ten members of each want more than there is time for.
    """
    print(f"\n{'weights of server A':<26}{'A s':>8}{'B s':>8}{'A/B':>8}{'most/least in A':>17}")
    for name, weights in (
        ("1 for all", [1.0] * 10),
        ("10 for all", [10.0] * 10),
        ("10 for three", [10.0] * 3 + [1.0] * 7),
        ("0.1 for three", [0.1] * 3 + [1.0] * 7),
    ):
        drawn = of_servers(weights)
        a, b = (sum(drawn[who] for who in users) for users in (range(10), range(10, 20)))
        own = [drawn[who] for who in range(10)]
        print(f"{name:<26}{a:>8.0f}{b:>8.0f}{a / b:>8.3f}{max(own) / max(min(own), 1):>17.1f}")


def of_servers(weights: Sequence[float]) -> dict[int, float]:
    """Seconds drawn within two hours, by person: ten of server A with weights, ten of B without."""
    chance = random.Random(SEED)
    everything = []
    for number in range(20 * 150):
        who = number % 20
        request = a_request(chance, MODELS[0]).with_(model=MODELS[0])
        origin = Origin(
            user_id=who,
            user_name=f"person {who}",
            guild_id=1 if who < 10 else 2,
            weight=weights[who] if who < 10 else 1.0,
        )
        when = datetime.fromtimestamp(0, UTC)
        job = Job(
            id=number + 1,
            state=JobState.QUEUED,
            request=request,
            origin=origin,
            created_at=when,
        )
        everything.append(Asked(job, 0.0, MACHINE.seconds(request)))
    drawn = dict.fromkeys(range(20), 0.0)
    for one in serve(everything, by_turns(0.0), until=2 * 3600):
        drawn[user(one)] += one.asked.seconds
    return drawn


def shares(served: Sequence[Served]) -> list[float]:
    """By person, the seconds that were drawn for them by the second that they had to be there."""
    drawn: dict[int, float] = {}
    there: dict[int, float] = {}
    until: dict[int, float] = {}
    for one in sorted(served, key=lambda one: one.asked.at):
        who = user(one)
        drawn[who] = drawn.get(who, 0.0) + one.asked.seconds
        begin = max(one.asked.at, until.get(who, 0.0))
        there[who] = there.get(who, 0.0) + max(0.0, one.ended - begin)
        until[who] = max(until.get(who, 0.0), one.ended)
    return [drawn[who] / there[who] for who in drawn]


def jain(values: Sequence[float]) -> float:
    """1 where all have the same, 1/n where one has all (Jain, Chiu and Hawe 1984)."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def percentile(values: Sequence[float], share: int) -> float:
    """The value below which that share of the values lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def user(served: Served) -> int:
    """Who asked for it."""
    return served.asked.job.origin.user_id


if __name__ == "__main__":
    sys.exit(main())
