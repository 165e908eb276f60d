"""The worker's queue, with a real store and the engine that needs no model."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from generation.engines.fake import FakeEngine
from generation.estimate import LOADING, Estimates, Measurement
from generation.job import Failure, Job, JobState, Provenance
from generation.messages import Failed, Generate, JobEvent
from generation.worker import Worker
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.requests import a_request, an_origin
from tests.patience import PATIENCE
from tests.unit.generation.catalogs import a_catalog, a_model


class House:
    """A store, a worker that has not begun yet, and what was drawn, in order."""

    def __init__(self, jobs: JobStore, affinity: float) -> None:
        self.jobs = jobs
        self.engine = FakeEngine()
        catalog = a_catalog(a_model("demo"), a_model("other"))
        self.worker = Worker(jobs, self.engine, catalog, affinity=affinity)
        self.changed = asyncio.Event()
        self.worker.listen(self._hear)

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        self.changed.set()

    async def ask(self, user: int, model: str = "demo", steps: int = 4) -> int:
        job = await self.jobs.add(a_request(model=model, steps=steps), an_origin(user))
        self.worker.wake()
        return job.id

    async def until_begun(self, count: int) -> None:
        while len(self.engine.began) < count:
            self.changed.clear()
            await self.changed.wait()

    async def until_idle(self) -> None:
        while self.worker.current is not None or await self.jobs.waiting():
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 0.05)


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(params=[0.0])
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    yield House(JobStore(database, PictureFiles(tmp_path / "pictures")), request.param)
    await database.dispose()


async def found(house: House, number: int) -> Job:
    job = await house.jobs.get(number)
    assert job is not None
    return job


async def test_it_draws_in_the_order_that_it_announced(house: House) -> None:
    for user, model in ((1, "demo"), (1, "demo"), (1, "demo"), (2, "other"), (3, "demo")):
        await house.ask(user, model)
    announced = [str(planned.job.id) for planned in await house.worker.plan()]
    assert announced == ["1", "4", "5", "2", "3"]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert house.engine.began == announced
    assert house.worker.loaded == "demo"


@pytest.mark.parametrize("house", [1000.0], indirect=True)
async def test_it_stays_with_a_model_as_long_as_the_setting_allows(house: House) -> None:
    for user in range(1, 7):
        await house.ask(user, ("demo", "other")[user % 2])
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert house.engine.began == ["1", "3", "5", "2", "4", "6"]


async def test_the_plan_counts_what_runs_and_its_loading(house: House) -> None:
    house.engine.gate = asyncio.Event()
    await house.ask(1, steps=40)
    guess = Estimates().making(a_request(steps=40))
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_begun(1)
        await house.ask(2, "other", steps=40)
        (planned,) = await house.worker.plan()
        assert planned.swap
        assert planned.seconds_until_start == pytest.approx(guess + LOADING, abs=2)
        later = planned.seconds_until_done - planned.seconds_until_start
        assert later == pytest.approx(guess + LOADING)
        house.engine.gate.set()
        await house.until_idle()


async def test_what_was_measured_corrects_the_plan(house: House) -> None:
    done = await house.ask(1)
    await house.jobs.claim(done)
    provenance = Provenance(
        seconds=90.0, seconds_loading=50.0, batch_size=1, memory_peak=0, hashes={}, versions={}
    )
    await house.jobs.finish(done, provenance)
    await house.ask(1)
    await house.ask(2, steps=8)
    planned = await house.worker.plan()
    assert [one.seconds_until_start for one in planned] == pytest.approx([0, 90])
    assert [one.seconds_until_done for one in planned] == pytest.approx([90, 170])


async def test_one_that_is_cancelled_leaves_the_plan(house: House) -> None:
    numbers = [await house.ask(user) for user in (1, 2, 3)]
    assert await house.jobs.cancel_waiting(numbers[1]) is not None
    assert [(one.job.id, one.place) for one in await house.worker.plan()] == [
        (numbers[0], 0),
        (numbers[2], 1),
    ]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    cancelled = await house.jobs.get(numbers[1])
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    assert house.engine.began == [str(numbers[0]), str(numbers[2])]


async def test_a_full_disk_fails_the_job_and_the_next_one_is_drawn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_ERROR", 0.01)
    full = [True, True]
    add_picture, fail = house.jobs.add_picture, house.jobs.fail
    measurements = house.jobs.measurements

    async def no_space(*args: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        await add_picture(*args)

    async def no_space_twice(*args: Any) -> Job:
        if full:
            full.pop()
            raise OSError(28, "No space left on device")
        return await fail(*args)

    unreadable = [True]

    async def unreadable_once() -> Sequence[Measurement]:
        if unreadable:
            unreadable.pop()
            raise OSError("the database can't be read")
        return await measurements()

    monkeypatch.setattr(house.jobs, "add_picture", no_space)
    monkeypatch.setattr(house.jobs, "fail", no_space_twice)
    monkeypatch.setattr(house.jobs, "measurements", unreadable_once)
    first, second = await house.ask(1), await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    failed, drawn = await house.jobs.get(first), await house.jobs.get(second)
    assert failed is not None
    assert drawn is not None
    assert (failed.state, drawn.state) == (JobState.FAILED, JobState.FINISHED)
    assert failed.failure is not None
    assert failed.failure.code == "internal_error"


async def test_whatever_fails_after_the_end_does_not_hold_up_the_queue(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = house.jobs.finish

    async def noted_but(*args: Any) -> Job:
        await finish(*args)
        raise OSError("the database can't be read")

    def broken(_job: Job, _event: JobEvent | None) -> None:
        raise KeyError("a listener of somebody's")

    monkeypatch.setattr(house.jobs, "finish", noted_but)
    house.worker.listen(broken)
    numbers = [await house.ask(user) for user in (1, 2)]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    jobs = [await house.jobs.get(number) for number in numbers]
    assert [job and job.state for job in jobs] == [JobState.FINISHED, JobState.FINISHED]


async def test_a_second_try_is_drawn_one_by_one(house: House) -> None:
    number = await house.ask(1)
    await house.jobs.claim(number)
    await house.jobs.begin(number)
    assert [job.id for job in await house.jobs.recover()] == [number]
    asked: list[bool] = []
    generate = house.engine.generate

    def noting(work: Generate) -> AsyncIterator[JobEvent]:
        asked.append(work.one_by_one)
        return generate(work)

    house.engine.generate = noting  # type: ignore[assignment,method-assign]
    await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert sorted(asked) == [False, True]


async def test_a_try_counts_once_a_picture_is_begun(house: House) -> None:
    number = await house.ask(1)
    counted: list[int] = []
    house.engine.gate = asyncio.Event()
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_begun(1)
        counted.append((await found(house, number)).attempts)
        while not (await found(house, number)).attempts:
            await asyncio.sleep(0.01)
        house.engine.gate.set()
        await house.until_idle()
    assert counted == [0]
    assert (await found(house, number)).attempts == 1


async def test_a_stop_puts_the_job_back_without_counting_a_try(house: House) -> None:
    house.engine.gate = asyncio.Event()
    number = await house.ask(1)
    for _ in range(5):
        async with running(house.worker), asyncio.timeout(PATIENCE):
            while not (await found(house, number)).attempts:
                await asyncio.sleep(0.01)
        job = await found(house, number)
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    house.engine.gate.set()
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert (await found(house, number)).state is JobState.FINISHED


async def test_an_engine_that_never_starts_fails_the_job_in_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 0.01)

    async def dies(work: Generate) -> AsyncIterator[JobEvent]:
        yield Failed(work.job, "worker_died", detail="no module named torch")

    monkeypatch.setattr(house.engine, "generate", dies)
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    job = await found(house, number)
    assert (job.state, job.failure) == (JobState.FAILED, Failure("worker_died"))
    assert job.attempts == 0


async def test_a_stop_that_breaks_the_engine_first_costs_no_try(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a terminal reaches the child too, and its end may be noticed before the signal."""
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 60.0)
    house.engine.failures = ["worker_died"]
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        while house.engine.failures or not (await found(house, number)).attempts:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    job = await found(house, number)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


async def test_who_stops_waiting_for_one_job_wants_it_no_more(house: House) -> None:
    house.engine.gate = asyncio.Event()
    number = await house.ask(1)
    task = asyncio.create_task(house.worker.run_only(number))
    async with asyncio.timeout(PATIENCE):
        await house.until_begun(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await found(house, number)).state is JobState.CANCELLED
