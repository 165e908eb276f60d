"""How long jobs take, from how long others took."""

from datetime import UTC, datetime

import pytest

from generation.estimate import LOADING, RATE, Estimates, Measurement, plan, work
from generation.job import Job, JobState
from tests.fixtures.requests import a_request, an_origin


def measured(seconds: float, loading: float = 0.0, **changes: object) -> Measurement:
    return Measurement(a_request(**changes), seconds, loading)


def test_work_counts_what_the_denoiser_does() -> None:
    plain = work(a_request(steps=10))
    assert work(a_request(steps=20)) == pytest.approx(2 * plain)
    assert work(a_request(steps=10, count=3)) == pytest.approx(3 * plain)
    assert work(a_request(steps=10, width=256)) == pytest.approx(2 * plain)
    assert work(a_request(steps=10, sampler="Heun")) == pytest.approx(2 * plain)
    started = a_request(steps=10, init_picture="ab" * 32, denoising_strength=0.3)
    assert work(started) == pytest.approx(0.3 * plain)


def test_a_size_goes_by_its_own_measurements_then_by_the_models_then_by_all() -> None:
    estimates = Estimates(
        [
            measured(4.0, steps=10),
            measured(4.4, steps=10),
            measured(100.0, steps=10),  # somebody played a game meanwhile
            measured(40.0, steps=10, width=256, height=256),
        ]
    )
    assert estimates.making(a_request(steps=10)) == pytest.approx(4.4)
    assert estimates.making(a_request(steps=20, count=2)) == pytest.approx(17.6)
    assert estimates.making(a_request(steps=10, width=256, height=256)) == pytest.approx(40)
    other = estimates.making(a_request(steps=10, model="other"))
    assert 4 < other < 20


def test_loading_is_left_out_of_the_rate_and_known_for_itself() -> None:
    estimates = Estimates([measured(9.0, 5.0, steps=10), measured(4.0, steps=10)])
    assert estimates.making(a_request(steps=10)) == pytest.approx(4)
    assert estimates.loading("demo") == 5
    assert estimates.loading("other") == 5


def test_where_nothing_was_measured_there_is_a_guess() -> None:
    request = a_request(steps=10)
    assert Estimates().making(request) == pytest.approx(RATE * work(request))
    assert Estimates().loading("demo") == LOADING


def test_a_plan_counts_swaps_and_what_still_runs() -> None:
    estimates = Estimates([measured(4.0, steps=10), measured(9.0, 5.0, steps=10, model="other")])

    def job(number: int, model: str) -> Job:
        return Job(
            id=number,
            state=JobState.QUEUED,
            request=a_request(steps=10, model=model),
            origin=an_origin(),
            created_at=datetime.now(UTC),
        )

    jobs = [job(1, "demo"), job(2, "other"), job(3, "other")]
    planned = plan(jobs, estimates, loaded="demo", seconds_left=2.0)
    assert [p.swap for p in planned] == [False, True, False]
    assert [p.seconds_until_start for p in planned] == pytest.approx([2, 6, 15])
    assert [p.seconds_until_done for p in planned] == pytest.approx([6, 15, 19])
    assert [p.place for p in planned] == [0, 1, 2]
