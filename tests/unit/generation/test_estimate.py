"""How long jobs take, from how long others took."""

from datetime import UTC, datetime

import pytest

from generation.estimate import LOADING, RATE, Estimates, Hand, Measurement, calls, megapixels, plan
from generation.job import Job, JobState
from generation.schedule import Queue
from tests.fixtures.requests import a_request, an_origin


def measured(seconds: float, loading: float = 0.0, **changes: object) -> Measurement:
    return Measurement(a_request(**changes), seconds, loading)


def test_what_the_denoiser_does_is_counted() -> None:
    assert calls(a_request(steps=10)) == 10
    assert calls(a_request(steps=10, sampler="Heun")) == 20
    assert calls(a_request(steps=10, guidance_scale=1.0)) == 5
    started = a_request(steps=10, init_picture="ab" * 32, denoising_strength=0.3)
    assert calls(started) == pytest.approx(3)
    assert megapixels(a_request(width=1000, height=504)) == pytest.approx(0.504)
    # three tiles by three, each of which overlaps its neighbours
    assert megapixels(a_request(width=1024, height=1024, tile=512)) == pytest.approx(9 * 0.512**2)
    assert megapixels(a_request(width=512, height=512, tile=512)) == pytest.approx(0.512**2)


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


def test_what_was_not_timed_of_a_model_is_not_said() -> None:
    estimates = Estimates([measured(4.0, steps=10)])
    assert estimates.measured(a_request(steps=10)) == pytest.approx(4)
    assert estimates.measured(a_request(steps=10, model="other")) is None


def test_what_every_picture_takes_beside_its_steps_is_told_apart() -> None:
    """Two seconds to encode and decode, and a quarter for each step."""
    seen = [measured(2 * (2 + steps / 4), count=2, steps=steps) for steps in (8, 40, 20, 8, 30)]
    estimates = Estimates([*seen, measured(500.0, steps=12)])
    assert estimates.making(a_request(steps=4)) == pytest.approx(3)
    assert estimates.making(a_request(steps=60, count=3)) == pytest.approx(51)
    assert estimates.making(a_request(steps=60, width=256)) == pytest.approx(34)


def test_a_fit_that_says_nonsense_is_not_believed() -> None:
    """More steps in less time, or pictures for less than nothing."""
    faster = Estimates([measured(4.0, steps=10), measured(3.0, steps=20)])
    assert 3 <= faster.making(a_request(steps=20)) <= 8
    steep = Estimates([measured(1.0, steps=10), measured(30.0, steps=20)])
    assert steep.making(a_request(steps=1)) > 0.05


def test_tiles_and_controls_are_measured_for_themselves() -> None:
    control = {"name": "edges", "picture": "ab" * 32}
    estimates = Estimates([measured(4.0, steps=10), measured(7.0, steps=10, controls=[control])])
    assert estimates.making(a_request(steps=10)) == pytest.approx(4)
    assert estimates.making(a_request(steps=20, controls=[control])) == pytest.approx(14)


def test_loading_is_left_out_of_the_rate_and_known_for_itself() -> None:
    estimates = Estimates([measured(9.0, 5.0, steps=10), measured(4.0, steps=10)])
    assert estimates.making(a_request(steps=10)) == pytest.approx(4)
    assert estimates.loading("demo") == 5
    assert estimates.loading("other") == 5


def test_a_swap_between_models_that_are_in_memory_costs_nothing() -> None:
    first = [measured(9.0, 5.0, model="other"), measured(9.0, 5.0)]
    swapped = [measured(4.0, model=name) for name in ("demo", "other") * 3]
    estimates = Estimates([*swapped, *first])
    assert estimates.loading("demo") == estimates.loading("other") == 0
    repeated = Estimates([measured(4.0), measured(4.0), measured(9.0, 5.0)])
    assert repeated.loading("demo") == 5


def test_where_nothing_was_measured_there_is_a_guess() -> None:
    request = a_request(steps=10, count=2)
    assert Estimates().making(request) == pytest.approx(RATE * 10 * megapixels(request) * 2)
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
    queue = Queue()
    for each in jobs:
        queue.add(each)
    hand = Hand("main", "demo", estimates, seconds_left=2.0)
    found = plan(queue.whole_course(estimates), [hand])
    planned = [one for one in found if one is not None]
    assert [p.swap for p in planned] == [False, True, False]
    assert [p.seconds_until_start for p in planned] == pytest.approx([2, 6, 15])
    assert [p.seconds_until_done for p in planned] == pytest.approx([6, 15, 19])
    assert [p.place for p in planned] == [0, 1, 2]
