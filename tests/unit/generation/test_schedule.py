"""Who comes next."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from generation import schedule
from generation.job import NEXT, Job, JobState, before
from tests.fixtures.requests import a_request, an_origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def jobs_of(*users: int) -> list[Job]:
    """One waiting job for each, in the order in which they asked."""
    return [
        Job(
            id=number,
            state=JobState.QUEUED,
            request=a_request(),
            origin=an_origin(user),
            created_at=NOW,
        )
        for number, user in enumerate(users, 1)
    ]


def test_first_come_first_served_among_equals() -> None:
    assert [job.id for job in schedule.order(jobs_of(1, 2, 3))] == [1, 2, 3]


def test_one_person_does_not_starve_the_others() -> None:
    assert [job.id for job in schedule.order(jobs_of(1, 1, 1, 1, 2, 3, 2))] == [1, 5, 6, 2, 7, 3, 4]


def test_whoever_had_no_turn_for_longest_is_next() -> None:
    waiting = jobs_of(1, 2, 3)
    starts = {1: NOW + SECOND, 3: NOW + 2 * SECOND}
    assert [job.id for job in schedule.order(waiting, starts)] == [2, 1, 3]


def test_turns_from_before_anybody_asked_do_not_count() -> None:
    assert [job.id for job in schedule.order(jobs_of(1, 2), {1: NOW - SECOND})] == [1, 2]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12))
def test_what_is_announced_is_what_happens(users: list[int]) -> None:
    """While nobody asks anew, the order stays as it was told."""
    waiting = jobs_of(*users)
    announced = schedule.order(waiting)
    starts: dict[int, datetime] = {}
    for turn, job in enumerate(announced):
        assert schedule.order(waiting, starts)[0] is job
        waiting.remove(job)
        starts[job.origin.user_id] = NOW + turn * SECOND


@given(st.lists(st.integers(1, 5), max_size=30))
def test_nobody_waits_longer_than_everybody_once_a_job(users: list[int]) -> None:
    waiting = jobs_of(*users)
    ordered = schedule.order(waiting)
    assert sorted(job.id for job in ordered) == [job.id for job in waiting]
    for place, job in enumerate(ordered):
        own = [other for other in ordered[:place] if other.origin.user_id == job.origin.user_id]
        assert place <= (len(own) + 1) * len(set(users)) - 1


def test_ended_states_lead_nowhere_and_all_states_are_reached() -> None:
    assert all(state in NEXT for state in JobState)
    assert before(JobState.FINISHED) == {JobState.RUNNING}
    assert JobState.FINISHED not in before(JobState.QUEUED)
    assert all(before(state) for state in JobState)
