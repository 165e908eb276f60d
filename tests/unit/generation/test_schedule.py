"""Who comes next: by simulation."""

import itertools
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.course import PACE, ROUNDING, Times, Turns
from generation.job import NEXT, Job, JobState, before
from generation.request import GenerationRequest
from generation.schedule import Queue
from tests.fixtures import reference_schedule as reference
from tests.fixtures.requests import a_request, an_origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clockwork:
    """A step is a second, and so is a model's loading unless a test says otherwise."""

    def __init__(self, loading: float = 1.0) -> None:
        self._loading = loading

    def making(self, request: GenerationRequest) -> float:
        return float(request.steps)

    def loading(self, model: str) -> float:
        return self._loading


TIMES = Clockwork()


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
    return TIMES.making(job.request)


def queue_of(jobs: Sequence[Job], affinity: float = 0.0) -> Queue:
    queue = Queue(affinity)
    for job in jobs:
        queue.add(job)
    return queue


def order(queue: Queue, times: Times = TIMES, loaded: str = "") -> list[Job]:
    return [job for job in queue.course(times, loaded=loaded, worker="one") if job is not None]


def take_next(queue: Queue, loaded: str, times: Times = TIMES) -> Job:
    course = queue.course(times, loaded=loaded, worker="one")
    job = next(job for job in course if job is not None)
    queue.take(job, course.turns)
    return job


def ordered(
    jobs: list[Job], *, loaded: str = "", affinity: float = 0.0, times: Times = TIMES
) -> list[int]:
    return [job.id for job in order(queue_of(jobs, affinity), times, loaded)]


Arrivals = Callable[[float, Job | None], list[Job]]
"""Who comes by a time, after a job has ended."""


class Run:
    """What was served from an empty beginning, and how."""

    def __init__(
        self,
        jobs: Sequence[Job],
        seconds: float,
        arrives: Arrivals = lambda _clock, _ended: [],
        *,
        affinity: float = 0.0,
    ) -> None:
        self.began: list[tuple[float, Job]] = []
        self.swaps = 0
        self.debts: list[float] = []
        self.queue, clock, loaded = queue_of(jobs, affinity), 0.0, "a"
        ended = None
        while clock < seconds:
            for job in arrives(clock, ended):
                self.queue.add(job)
            if not self.queue:
                break
            ended = take_next(self.queue, loaded)
            self.debts.append(self.queue.turns.debt)
            self.swaps += ended.request.model != loaded
            loaded = ended.request.model
            self.began.append((clock, ended))
            clock += cost(ended)

    def seconds(self, user: int) -> float:
        return sum(cost(job) for _, job in self.began if job.origin.user_id == user)


def test_first_come_first_served_among_equals() -> None:
    assert ordered(jobs_of(1, 2, 3)) == [1, 2, 3]


def test_people_take_turns() -> None:
    assert ordered(jobs_of(1, 1, 1, 1, 2, 3, 2)) == [1, 5, 6, 2, 7, 3, 4]


@pytest.mark.parametrize("came", range(1, 30, 4))
@pytest.mark.parametrize("steps", [1, 20])
def test_a_flood_delays_others_by_one_job(came: int, steps: int) -> None:
    flood = [a_job(number, 1, 5) for number in range(1, 101)]
    late = a_job(200, 2, steps)
    waiting = [late]
    run = Run(flood, 200, lambda clock, _: [waiting.pop()] if waiting and clock >= came else [])
    [when] = [clock for clock, job in run.began if job is late]
    # as much of the flood as the late one costs, and the job that ran when it came
    assert when - came <= max(steps, 5) + 5


def test_a_flood_of_the_loaded_model_delays_others_by_the_bound_at_most() -> None:
    flood = [a_job(number, 1, 5, "a") for number in range(1, 101)]
    late = a_job(200, 2, 5, "b")
    waiting = [late]
    run = Run(
        flood, 200, lambda clock, _: [waiting.pop()] if waiting and clock >= 7 else [], affinity=30
    )
    [when] = [clock for clock, job in run.began if job is late]
    assert 30 <= when - 7 <= 30 + 5 + 5


def test_dear_jobs_are_paid_for() -> None:
    """Four times fifty steps against one times twenty: the same time for both."""
    dear = [a_job(number, 1, steps=100) for number in range(1, 100)]
    cheap = [a_job(number, 2, steps=20) for number in range(100, 600)]
    run = Run(dear + cheap, 4000)
    assert run.seconds(1) == pytest.approx(run.seconds(2), abs=100)


@pytest.mark.parametrize("affinity", [0.0, 30.0])
def test_a_weight_is_a_share_of_the_time(affinity: float) -> None:
    weights = {1: 3.0, 2: 1.0, 3: 0.5}
    jobs = [
        a_job(1000 * user + number, user, 1 + number % 7, "ab"[number % 2], weight)
        for user, weight in weights.items()
        for number in range(300)
    ]
    run = Run(jobs, 1200, affinity=affinity)
    share = run.seconds(1) / 3
    assert run.seconds(2) == pytest.approx(share, abs=affinity + 14)
    assert run.seconds(3) == pytest.approx(share / 2, abs=affinity + 14)


@pytest.mark.parametrize("weights", [(10.0, 10.0), (10.0, 1.0), (0.1, 0.1), (0.5, 2.0)])
def test_weights_take_nothing_from_other_servers(weights: tuple[float, float]) -> None:
    """Two people of a server that gives weights, two of one that does not."""
    of_server = {1: 10, 2: 10, 3: 20, 4: 20}
    given = {1: weights[0], 2: weights[1], 3: 1.0, 4: 1.0}
    jobs = [
        msgspec.structs.replace(job, origin=msgspec.structs.replace(job.origin, guild_id=guild))
        for user, guild in of_server.items()
        for number in range(300)
        for job in [a_job(1000 * user + number, user, 1 + number % 3, weight=given[user])]
    ]
    run = Run(jobs, 800)
    one, two, others = run.seconds(1), run.seconds(2), run.seconds(3) + run.seconds(4)
    assert one + two == pytest.approx(others, abs=24)
    assert one / two == pytest.approx(weights[0] / weights[1], rel=0.3)


def test_a_loaded_model_goes_ahead_within_its_bound() -> None:
    jobs = [a_job(n, user, 10, "ab"[user % 2]) for n, user in enumerate([1, 2, 3, 4, 5, 6], 1)]
    assert ordered(jobs, loaded="a") == [1, 2, 3, 4, 5, 6]
    # one goes ahead, then who waited; what goes ahead next waits until that is paid back
    assert ordered(jobs, loaded="a", affinity=10.0) == [2, 1, 3, 5, 4, 6]
    assert ordered(jobs, loaded="a", affinity=1000.0) == [2, 4, 6, 1, 3, 5]


def test_nobody_is_kept_waiting_for_a_model_that_is_in_memory_anyway() -> None:
    jobs = [a_job(n, user, 10, "ab"[user % 2]) for n, user in enumerate([1, 2, 3, 4], 1)]
    kept = Clockwork(loading=0.01)
    assert ordered(jobs, loaded="a", affinity=1000.0, times=kept) == [1, 2, 3, 4]


def test_what_went_ahead_is_charged() -> None:
    """Who always uses the loaded model is not served more than the others; swaps are fewer."""
    models = {1: "a", 2: "b", 3: "a"}
    jobs = [
        a_job(1000 * user + number, user, 2, model)
        for user, model in models.items()
        for number in range(300)
    ]
    plain, near = Run(jobs, 600), Run(jobs, 600, affinity=20.0)
    for user in models:
        assert near.seconds(user) == pytest.approx(200, abs=20 + 4)
    assert near.swaps < plain.swaps / 3
    assert max(near.debts) <= 20 + ROUNDING


def test_a_debt_outlasts_the_leaving_of_the_queue() -> None:
    """Two people of one model who take turns at asking don't keep out one of another model."""
    numbers = iter(range(10, 10_000))
    thinking: list[Job] = []
    asked = {1: 0.0, 2: 0.0, 3: 0.0}

    def again(clock: float, ended: Job | None) -> list[Job]:
        if ended is not None:
            thinking.append(ended)
        if len(thinking) < 2:
            return []
        job = thinking.pop(0)
        number = next(numbers)
        asked[number] = clock
        return [a_job(number, job.origin.user_id, 5, job.request.model)]

    jobs = [a_job(1, 1, 5, "a"), a_job(2, 2, 5, "b"), a_job(3, 3, 5, "b")]
    run = Run(jobs, 3000, again, affinity=40.0)
    waits = [clock - asked[job.id] for clock, job in run.began if job.origin.user_id == 1]
    assert len(waits) > 40
    assert 30 <= max(waits) <= 40 + 5 + 5


def test_a_paid_debt_of_someone_gone_is_forgotten() -> None:
    gone = a_job(1, 1, 5, "a")
    jobs = [gone, *(a_job(number, 2, 5, "b") for number in range(2, 12))]
    run = Run(jobs[:1], 1, affinity=10.0)
    assert run.queue.turns.debt == 0
    queue = queue_of(jobs, 10.0)
    queue.turns = Turns(ring=(2, 1), credits={2: 0.0, 1: 0.0})
    assert take_next(queue, "a") is gone
    assert queue.turns.debt == 5
    for _ in range(3):
        take_next(queue, "b")
    assert queue.turns.ring == (2,)
    assert queue.turns.debt == 0


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
    found = order(queue_of(jobs, affinity), loaded="a")
    assert sorted(job.id for job in found) == [job.id for job in jobs]
    for user in {job.origin.user_id for job in jobs}:
        own = [job.id for job in found if job.origin.user_id == user]
        assert own == sorted(own)


@given(queues())
def test_the_order_that_is_announced_is_the_order_that_is_kept(waiting: list[Job]) -> None:
    queue = queue_of(list(reversed(waiting)), 30.0)
    loaded = "a"
    for expected in order(queue, loaded="a"):
        job = take_next(queue, loaded)
        assert job is expected
        loaded = job.request.model
    assert not queue


def hold_next(queue: Queue, loaded: str) -> Job:
    course = queue.course(TIMES, loaded=loaded, worker="one")
    job = next(job for job in course if job is not None)
    queue.hold("one", job, course.turns)
    assert queue.holds(job.id)
    return job


@given(queues(), st.sampled_from((0.0, 30.0, 1e6)), st.data())
def test_one_that_is_held_runs_next_and_moves_no_other(
    waiting: list[Job], affinity: float, data: st.DataObject
) -> None:
    queue, loaded = queue_of(waiting, affinity), "a"
    for _ in range(data.draw(st.integers(0, len(waiting) - 1))):
        loaded = take_next(queue, loaded).request.model
    announced = order(queue, loaded=loaded)
    held = hold_next(queue, loaded)
    assert order(queue, loaded=loaded) == announced
    late = a_job(1000, data.draw(st.integers(1, 6)), 1, loaded)
    queue.add(late)
    assert order(queue, loaded=loaded)[0] is held
    queue.discard(late.id)
    assert take_next(queue, loaded) is held is announced[0]
    assert not queue.holds(held.id)
    assert order(queue, loaded=held.request.model) == announced[1:]


@given(queues(), st.sampled_from((0.0, 30.0, 1e6)), st.booleans())
def test_one_that_is_let_go_leaves_the_order_as_if_it_had_not_been_held(
    waiting: list[Job], affinity: float, cancelled: bool
) -> None:
    queue, other = queue_of(waiting, affinity), queue_of(waiting, affinity)
    held = hold_next(queue, "a")
    if cancelled:
        queue.discard(held.id)
        other.discard(held.id)
    else:
        queue.release("one")
    assert not queue.holds(held.id)
    assert order(queue, loaded="a") == order(other, loaded="a")
    assert queue.turns == other.turns


class Scaled(Clockwork):
    """As if everything had been measured anew."""

    def __init__(self, scale: float, loading: float) -> None:
        super().__init__(loading)
        self._scale = scale

    def making(self, request: GenerationRequest) -> float:
        return request.steps * self._scale


CLOCKWORKS = (Scaled(1.0, 8.0), Scaled(0.1, 8.0), Scaled(1 / 3, 0.5))
DOINGS = ("add", "add", "add", "run", "run", "cancel", "requeue", "measure", "rest", "look ahead")


@given(
    st.sampled_from((0.0, 5.0, 30.0, 1e6)),
    st.lists(st.tuples(st.sampled_from(DOINGS), st.randoms(use_true_random=False)), max_size=80),
)
def test_it_keeps_the_order_of_the_reference_whatever_comes_and_goes(
    affinity: float, doings: list[tuple[str, random.Random]]
) -> None:
    queue, turns, waiting, loaded = Queue(affinity), reference.Turns(), dict[int, Job](), "a"
    times: Times = CLOCKWORKS[0]
    ran: list[Job] = []
    for number, (doing, chance) in enumerate(doings, 1):
        match doing:
            case "add":
                weight = chance.choice((0.1, 0.7, 1.0, 4.0))
                user, steps = chance.randint(1, 6), chance.randint(1, 150)
                job = a_job(number, user, steps, chance.choice("abc"), weight)
                waiting[number] = job
                queue.add(job)
            case "run" if waiting:
                expected, turns = reference.next_job(
                    tuple(waiting.values()), turns, times, loaded=loaded, affinity=affinity
                )
                assert take_next(queue, loaded, times) is expected
                del waiting[expected.id]
                ran.append(expected)
                loaded = expected.request.model
                assert queue.turns == Turns(turns.ring, turns.credited, turns.credits)
            case "cancel" if waiting:
                gone = chance.choice(sorted(waiting))
                del waiting[gone]
                queue.discard(gone)
            case "requeue" if ran:
                job = ran.pop()
                waiting[job.id] = job
                queue.add(job)
            case "measure":
                times = chance.choice(CLOCKWORKS)
            case "rest" if not waiting:
                turns = reference.Turns()
                queue.rest()
            case "look ahead":
                expected_order = reference.order(
                    tuple(waiting.values()), turns, times, loaded=loaded, affinity=affinity
                )
                assert order(queue, times, loaded) == expected_order
        assert queue.ids == frozenset(waiting)


@pytest.mark.parametrize("affinity", [0.0, 60.0])
def test_a_thousand_people_are_served_as_by_the_reference(affinity: float) -> None:
    chance = random.Random(7)
    jobs = [
        a_job(number, user, chance.randint(10, 60), chance.choice("ab"), chance.choice((0.5, 1, 3)))
        for number, user in enumerate((chance.randint(1, 1000) for _ in range(1000)), 1)
    ]
    expected = reference.order(
        jobs, reference.Turns(), CLOCKWORKS[0], loaded="a", affinity=affinity
    )
    assert order(queue_of(jobs, affinity), CLOCKWORKS[0], "a") == expected


def test_a_course_goes_no_further_than_it_is_asked_and_lets_others_go_first() -> None:
    """Where the only cheap job is of a person of little weight, the others take many turns until
    one of their dear jobs is covered.
    """
    asked: list[GenerationRequest] = []

    class Counting(Clockwork):
        def making(self, request: GenerationRequest) -> float:
            asked.append(request)
            return super().making(request)

    queue = queue_of([a_job(number, number % 10) for number in range(1, 1001)])
    times = Counting()
    assert next(job for job in queue.course(times) if job is not None).id == 1
    assert len(asked) <= 10 + 1
    take_next(queue, "a", times)
    assert len(asked) <= 10 + 2, "what a job costs is reckoned once"
    slow = Queue()
    slow.add(a_job(1, 1, steps=1, weight=0.001))
    for number in range(2, 101):
        slow.add(a_job(number, number, steps=150))
    pauses = list(slow.course(TIMES)).count(None)
    assert pauses >= 49 * 99 // PACE


def test_of_many_who_wait_no_more_than_some_are_asked_about_at_a_time() -> None:
    queue, asked = Queue(), itertools.count()
    for number in range(1, 10 * PACE + 1):
        queue.add(a_job(number, number))
    since = 0
    for job in queue.course(TIMES, runs=lambda job: bool(next(asked)) and job.id > 2 * PACE):
        so_far = next(asked)
        assert so_far - since <= PACE + 1
        since = so_far
        if job is not None:
            break
    assert job is not None
    assert job.id == 2 * PACE + 1


@given(queues(), st.sampled_from((0.0, 30.0, 200.0)))
def test_all_that_runs_ahead_of_its_turn_is_within_the_bound(
    jobs: list[Job], affinity: float
) -> None:
    assert max(Run(jobs, 1e6, affinity=affinity).debts) <= affinity + 2 * ROUNDING


@pytest.mark.parametrize("affinity", [0.0, 200.0])
def test_nobody_starves_beside_newcomers(affinity: float) -> None:
    chance = random.Random(1)
    numbers = iter(range(10, 100_000))

    def arrives(_clock: float, _ended: Job | None) -> list[Job]:
        return [a_job(next(numbers), chance.randint(2, 30), chance.randint(1, 20))]

    dear = a_job(1, 1, steps=100, model="b")
    run = Run([dear], 20_000, arrives, affinity=affinity)
    [when] = [clock for clock, job in run.began if job is dear]
    # the others, too, had as much as it costs, give or take a job of each
    assert when <= 30 * (100 + 20) + affinity


def test_every_state_is_reached_from_where_the_table_says() -> None:
    for state in JobState:
        for earlier in before(state):
            assert state in NEXT[earlier]
