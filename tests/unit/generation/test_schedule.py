"""Who comes next: by simulation."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import schedule
from generation.job import NEXT, Job, JobState, before
from generation.schedule import Turns
from tests.fixtures.requests import a_request, an_origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_job(number: int, user: int, steps: int = 1, model: str = "a", weight: float = 1.0) -> Job:
    return Job(
        id=number,
        state=JobState.QUEUED,
        request=a_request(steps=steps, model=model),
        origin=an_origin(user, weight=weight),
        created_at=NOW,
    )


def jobs_of(*users: int) -> list[Job]:
    """One waiting job for each, in the order in which they asked."""
    return [a_job(number, user) for number, user in enumerate(users, 1)]


def cost(job: Job) -> float:
    return float(job.request.steps)


def ordered(jobs: list[Job], **more: object) -> list[int]:
    return [job.id for job in schedule.order(jobs, Turns(), cost, **more)]  # type: ignore[arg-type]


def served(
    jobs: list[Job], seconds: float, arrives: Callable[[float], list[Job]] = lambda _: []
) -> list[tuple[float, Job]]:
    """Work for so long; (when it began, job) of each."""
    waiting, turns, clock = list(jobs), Turns(), 0.0
    began: list[tuple[float, Job]] = []
    while clock < seconds:
        waiting += arrives(clock)
        if not waiting:
            break
        job, turns = schedule.next_job(waiting, turns, cost)
        waiting.remove(job)
        began.append((clock, job))
        clock += cost(job)
    return began


def test_first_come_first_served_among_equals() -> None:
    assert ordered(jobs_of(1, 2, 3)) == [1, 2, 3]


def test_people_take_turns() -> None:
    assert ordered(jobs_of(1, 1, 1, 1, 2, 3, 2)) == [1, 5, 6, 2, 7, 3, 4]


def test_a_flood_delays_others_by_one_job() -> None:
    flood = [a_job(number, 1) for number in range(1, 101)]
    late = a_job(200, 2)
    began = served(flood, 50, lambda clock: [late] if clock == 7.0 else [])
    [when] = [clock for clock, job in began if job is late]
    assert when - 7.0 <= 1


def test_dear_jobs_are_paid_for() -> None:
    """Four times fifty steps against one times twenty: the same time for both."""
    dear = [a_job(number, 1, steps=100) for number in range(1, 100)]
    cheap = [a_job(number, 2, steps=20) for number in range(100, 600)]
    seconds = {1: 0.0, 2: 0.0}
    for _, job in served(dear + cheap, 4000):
        seconds[job.origin.user_id] += cost(job)
    assert seconds[1] == pytest.approx(seconds[2], abs=100)


def test_a_weight_is_a_share_of_the_time() -> None:
    jobs = [a_job(number, 1, weight=3.0) for number in range(1, 500)]
    jobs += [a_job(number, 2) for number in range(500, 1000)]
    seconds = {1: 0.0, 2: 0.0}
    for _, job in served(jobs, 400):
        seconds[job.origin.user_id] += cost(job)
    assert seconds[1] / seconds[2] == pytest.approx(3, rel=0.05)


def test_a_loaded_model_goes_ahead_within_its_bound() -> None:
    jobs = [a_job(n, user, 10, "ab"[user % 2]) for n, user in enumerate([1, 2, 3, 4, 5, 6], 1)]
    swaps = [job.request.model for job in schedule.order(jobs, Turns(), cost, loaded="b")]
    assert swaps == ["b", "a", "b", "a", "b", "a"]
    near = ordered(jobs, loaded="b", affinity=10.0)
    assert near == [1, 3, 2, 4, 6, 5] or near[:2] == [1, 3]
    all_of_b = ordered(jobs, loaded="b", affinity=1000.0)
    assert all_of_b == [1, 3, 5, 2, 4, 6]


def test_what_went_ahead_is_charged() -> None:
    """Someone who always uses the loaded model is not served more than the others."""
    jobs = [a_job(n, 1, 1, "a") for n in range(1, 300)]
    jobs += [a_job(n, 2, 1, "b") for n in range(300, 600)]
    waiting, turns, loaded = jobs, Turns(), "a"
    count = {1: 0, 2: 0}
    swaps = 0
    for _ in range(200):
        job, turns = schedule.next_job(waiting, turns, cost, loaded=loaded, affinity=5.0)
        waiting = [other for other in waiting if other is not job]
        swaps += job.request.model != loaded
        loaded = job.request.model
        count[job.origin.user_id] += 1
    assert count[1] == pytest.approx(count[2], abs=12)
    assert swaps <= 80


@st.composite
def queues(draw: st.DrawFn) -> list[Job]:
    users = draw(st.lists(st.integers(1, 5), min_size=1, max_size=25))
    return [
        a_job(
            number,
            user,
            draw(st.integers(1, 150)),
            draw(st.sampled_from("abc")),
            draw(st.sampled_from((0.1, 1.0, 4.0))),
        )
        for number, user in enumerate(users, 1)
    ]


@given(queues(), st.sampled_from((0.0, 30.0, 1e6)))
def test_everybody_is_served_once_and_ones_own_order_is_kept(
    jobs: list[Job], affinity: float
) -> None:
    found = schedule.order(jobs, Turns(), cost, loaded="a", affinity=affinity)
    assert sorted(job.id for job in found) == [job.id for job in jobs]
    for user in {job.origin.user_id for job in jobs}:
        own = [job.id for job in found if job.origin.user_id == user]
        assert own == sorted(own)


@given(queues())
def test_the_order_that_is_announced_is_the_order_that_is_kept(waiting: list[Job]) -> None:
    announced = schedule.order(waiting, Turns(), cost, loaded="a", affinity=30.0)
    turns, loaded, left = Turns(), "a", list(waiting)
    for expected in announced:
        job, turns = schedule.next_job(left, turns, cost, loaded=loaded, affinity=30.0)
        assert job is expected
        loaded = job.request.model
        left.remove(job)


def test_nobody_starves_beside_newcomers() -> None:
    chance = random.Random(1)
    numbers = iter(range(10, 100_000))

    def arrives(_clock: float) -> list[Job]:
        return [a_job(next(numbers), chance.randint(2, 30), chance.randint(1, 20))]

    dear = a_job(1, 1, steps=100)
    began = served([dear], 20_000, arrives)
    assert any(job is dear for _, job in began[: 30 * 100])


def test_every_state_is_reached_from_where_the_table_says() -> None:
    for state in JobState:
        for earlier in before(state):
            assert state in NEXT[earlier]
