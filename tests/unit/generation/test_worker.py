"""The worker's queue, with a real store and the engine that needs no model."""

import asyncio
import contextlib
import io
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation import metadata
from generation.engines.fake import FakeEngine
from generation.estimate import LOADING, Estimates
from generation.job import Failure, Job, JobState, Provenance
from generation.messages import EngineWork, Failed, Generate, JobEvent, Unsaved
from generation.models import UNKNOWN, ModelKind
from generation.numerics import Numerics
from generation.worker import Worker
from generation.worker_pool import WorkerPool
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
        self.workers = WorkerPool(jobs, catalog, affinity=affinity)
        self.worker = self.workers.add("main", self.engine)
        self.asked: list[int] = []
        self.changed = asyncio.Event()
        self.workers.listen(self._hear)

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        self.changed.set()

    async def ask(self, user: int, model: str = "demo", steps: int = 4) -> int:
        job = await self.jobs.add(a_request(model=model, steps=steps), an_origin(user))
        self.asked.append(job.id)
        self.workers.wake()
        return job.id

    async def until_begun(self, count: int) -> None:
        while len(self.engine.began) < count:
            self.changed.clear()
            await self.changed.wait()

    async def until_idle(self) -> None:
        """Until all that was asked for has ended."""
        for number in self.asked:
            while not (await found(self, number)).ended:
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.05)


@contextlib.asynccontextmanager
async def running(worker: WorkerPool | Worker) -> AsyncIterator[None]:
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
    announced = [str(planned.job.id) for planned in await house.workers.plan()]
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
        (planned,) = await house.workers.plan()
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
    planned = await house.workers.plan()
    assert [one.seconds_until_start for one in planned] == pytest.approx([0, 90])
    assert [one.seconds_until_done for one in planned] == pytest.approx([90, 170])


async def test_one_that_is_cancelled_leaves_the_plan(house: House) -> None:
    numbers = [await house.ask(user) for user in (1, 2, 3)]
    assert await house.jobs.cancel_waiting(numbers[1]) is not None
    assert [(one.job.id, one.place) for one in await house.workers.plan()] == [
        (numbers[0], 0),
        (numbers[2], 1),
    ]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    cancelled = await house.jobs.get(numbers[1])
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    assert house.engine.began == [str(numbers[0]), str(numbers[2])]


async def test_what_is_drawn_again_is_computed_as_it_was(house: House) -> None:
    told: list[EngineWork] = []
    real = house.engine.generate

    def generate(work: EngineWork) -> Any:
        told.append(work)
        return real(work)

    house.engine.generate = generate  # type: ignore[method-assign]
    kept = Numerics(
        batch_size=3, precision="float16", vae_precision="float32", threads=2, quantised="int8"
    )
    first = await house.ask(1)
    await house.jobs.claim(first)
    provenance = Provenance(
        seconds=1.0,
        seconds_loading=0.0,
        batch_size=4,
        memory_peak=0,
        hashes={},
        versions={},
        numerics=kept,
    )
    await house.jobs.finish(first, provenance)
    for action in ("reroll", "replay"):
        job = await house.jobs.add(a_request(), an_origin(1), action=action, parent=first)
        house.asked.append(job.id)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        house.workers.wake()
        await house.until_idle()
    drawn = [work for work in told if isinstance(work, Generate)]
    assert {int(work.job): work.numerics for work in drawn} == {first + 1: None, first + 2: kept}
    models = [work.checkpoint for work in drawn]
    assert [model.quantise for model in models] == ["", "int8"]
    replayed = await found(house, first + 2)
    assert replayed.provenance is not None
    assert replayed.provenance.numerics == kept
    png = await house.jobs._files.read(replayed.pictures[0].file)
    with Image.open(io.BytesIO(png)) as picture:
        about = msgspec.json.decode(str(picture.info["darkroom"]), type=metadata.About)
    assert about.numerics == kept


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_ERROR", 0.01)
    monkeypatch.setattr("generation.saving.SAVE_AGAIN_AFTER", (0.01,))


FULL = OSError(28, "No space left on device")


class Broken:
    """Methods of a store that fail for a while, before or after what they do."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self._jobs = house.jobs
        self._patch = monkeypatch.setattr
        self.mended = asyncio.Event()
        self.calls = 0

    def fails(
        self, name: str, error: Exception, times: int = 10_000, *, after: bool = False
    ) -> None:
        real, left = getattr(self._jobs, name), [error] * times

        async def failing(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if not left or self.mended.is_set():
                return await real(*args, **options)
            if after:
                await real(*args, **options)
            raise left.pop()

        self._patch(self._jobs, name, failing)


@pytest.fixture
def broken(house: House, monkeypatch: pytest.MonkeyPatch, soon: None) -> Broken:
    return Broken(house, monkeypatch)


async def test_a_picture_is_kept_as_soon_as_there_is_room(house: House, broken: Broken) -> None:
    broken.fails("add_picture", FULL)
    told: list[JobEvent | None] = []
    house.workers.listen(lambda job, event: told.append(event))
    first, second = await house.ask(1), await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        while broken.calls < 3:
            await asyncio.sleep(0.01)
        assert (await found(house, first)).state is JobState.RUNNING
        assert Unsaved(str(first), "disk_full") in told
        broken.mended.set()
        await house.until_idle()
    drawn = [await found(house, number) for number in (first, second)]
    assert [job.state for job in drawn] == [JobState.FINISHED] * 2
    assert [len(job.pictures) for job in drawn] == [1, 1]
    assert house.engine.began == [str(first), str(second)], "nothing was drawn twice"
    assert drawn[0].attempts == 1


async def test_a_database_that_somebody_else_has_locked_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    monkeypatch.setattr("storage.database.BUSY_SECONDS", 0.02)
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    house = House(JobStore(database, PictureFiles(tmp_path / "pictures")), 0.0)
    house.engine.gate = asyncio.Event()
    told: list[JobEvent | None] = []
    house.workers.listen(lambda job, event: told.append(event))
    number = await house.ask(1)
    with contextlib.closing(sqlite3.connect(tmp_path / "test.sqlite3")) as other:
        async with running(house.worker), asyncio.timeout(PATIENCE):
            while not (await found(house, number)).attempts:
                await asyncio.sleep(0.01)
            other.execute("BEGIN IMMEDIATE")
            house.engine.gate.set()
            while Unsaved(str(number), "database_busy") not in told:
                await asyncio.sleep(0.01)
            other.rollback()
            await house.until_idle()
    job = await found(house, number)
    await database.dispose()
    assert (job.state, job.attempts, len(job.pictures)) == (JobState.FINISHED, 1, 1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["waiting", "waiting_ids", "measurements", "claim", "finish"])
async def test_whatever_the_store_refuses_for_a_while_is_done_later(
    house: House, broken: Broken, name: str, after: bool
) -> None:
    """Also where the connection broke `after` it was done."""
    broken.fails(name, FULL, times=3, after=after)
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert (await found(house, number)).state is JobState.FINISHED
    assert house.engine.began == [str(number)]


@pytest.mark.parametrize("after", [False, True])
async def test_a_failure_is_noted_as_soon_as_it_can_be(
    house: House, broken: Broken, after: bool
) -> None:
    told: list[Job] = []
    house.workers.listen(lambda job, event: told.append(job))
    broken.fails("fail", FULL, times=3, after=after)
    house.engine.failures = ["nan_pictures"]
    await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
        while not told[-1].ended:
            await asyncio.sleep(0.01)
    assert told[-1].failure == Failure("nan_pictures")


async def test_what_fails_for_good_ends_the_job_and_not_the_queue(
    house: House, broken: Broken
) -> None:
    broken.fails("add_picture", ValueError("no such column"), times=1)
    first, second = await house.ask(1), await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert (await found(house, first)).failure == Failure("internal_error")
    assert (await found(house, second)).state is JobState.FINISHED


async def test_a_picture_that_can_not_be_kept_can_be_cancelled(
    house: House, broken: Broken
) -> None:
    broken.fails("add_picture", FULL)
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        while not broken.calls:
            await asyncio.sleep(0.01)
        await house.worker.cancel(number)
        await house.until_idle()
    assert (await found(house, number)).state is JobState.CANCELLED


async def test_a_stop_while_a_picture_can_not_be_kept_costs_no_try(
    house: House, broken: Broken
) -> None:
    broken.fails("add_picture", FULL)
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        while not broken.calls:
            await asyncio.sleep(0.01)
    job = await found(house, number)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


async def test_a_stop_lets_what_is_being_written_come_to_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, begun, go = house.jobs.finish, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> Job:
        begun.set()
        await go.wait()
        return await finish(*args)

    monkeypatch.setattr(house.jobs, "finish", slow)
    number = await house.ask(1)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.1, go.set)
    assert (await found(house, number)).state is JobState.FINISHED


async def test_one_row_that_can_not_be_read_does_not_stop_the_queue(
    house: House, tmp_path: Path
) -> None:
    numbers = [await house.ask(user) for user in (1, 2, 3)]
    with contextlib.closing(sqlite3.connect(tmp_path / "test.sqlite3")) as other, other:
        other.execute("UPDATE jobs SET request = '{' WHERE id = ?", (numbers[1],))
    house.asked.remove(numbers[1])
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert house.engine.began == [str(numbers[0]), str(numbers[2])]


async def test_what_another_process_asked_for_or_cancelled_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.waiting_jobs.LOOK_AGAIN_AFTER", 0.01)
    numbers = [await house.ask(user) for user in (1, 2)]
    assert len(await house.workers.plan()) == 2
    await house.jobs.cancel_waiting(numbers[0])
    late = await house.jobs.add(a_request(), an_origin(3))
    house.asked.append(late.id)
    async with asyncio.timeout(PATIENCE):
        while [one.job.id for one in await house.workers.plan()] != [numbers[1], late.id]:
            await asyncio.sleep(0.01)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert house.engine.began == [str(numbers[1]), str(late.id)]


async def test_the_waiting_jobs_are_read_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    waiting = house.jobs.waiting

    async def noting(only: Sequence[int] | None = None) -> Sequence[Job]:
        jobs = await waiting(only)
        read.extend(job.id for job in jobs)
        return jobs

    monkeypatch.setattr(house.jobs, "waiting", noting)
    numbers = [await house.ask(user) for user in range(1, 6)]
    job = await house.jobs.add(a_request(), an_origin(7))
    async with running(house.worker), asyncio.timeout(PATIENCE):
        while len(house.engine.began) < 6 or house.worker.current is not None:
            await house.workers.plan()
            await asyncio.sleep(0.01)
    assert sorted(read) == [*numbers, job.id]


async def test_a_plan_goes_as_far_as_it_is_asked(house: House) -> None:
    for user in (1, 2, 3, 4, 1, 2, 3, 4):
        await house.ask(user)
    everything = [one.job.id for one in await house.workers.plan()]
    assert [one.job.id for one in await house.workers.plan(first=2)] == everything[:2]
    some = await house.workers.plan(first=2, user_id=3)
    assert [(one.place, one.job.id) for one in some] == [(0, 1), (1, 2), (2, 3), (6, 7)]
    assert house.workers.waiting == 8
    assert await house.workers.plan(first=0, user_id=9) == []


async def test_a_listener_that_fails_does_not_hold_up_the_queue(house: House) -> None:
    def broken(_job: Job, _event: JobEvent | None) -> None:
        raise KeyError("a listener of somebody's")

    house.workers.listen(broken)
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

    def noting(work: EngineWork) -> AsyncIterator[JobEvent]:
        assert isinstance(work, Generate)
        asked.append(work.one_by_one)
        return generate(work)

    house.engine.generate = noting  # type: ignore[assignment,method-assign]
    await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert sorted(asked) == [False, True]


async def test_parts_of_unknown_version_are_taken_for_the_checkpoints(house: House) -> None:
    vae = a_model("fine", kind=ModelKind.VAE, family=UNKNOWN)
    ink = a_model("ink", kind=ModelKind.LORA, family="sd2")
    word = a_model("fog", kind=ModelKind.EMBEDDING, family=UNKNOWN)
    catalog = a_catalog(a_model("demo"), a_model("late"), vae, ink, word)
    house.workers = WorkerPool(house.jobs, catalog)
    house.worker = house.workers.add("main", house.engine)
    house.workers.listen(house._hear)
    seen: list[EngineWork] = []
    generate = house.engine.generate

    def noting(work: EngineWork) -> AsyncIterator[JobEvent]:
        seen.append(work)
        return generate(work)

    house.engine.generate = noting  # type: ignore[assignment,method-assign]
    loras = [{"name": "ink"}]
    request = a_request(vae="fine", refiner="late", negative_prompt="(Fog:1.2)", loras=loras)
    house.asked.append((await house.jobs.add(request, an_origin(1))).id)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    (work,) = seen
    assert isinstance(work, Generate)
    assert work.vae is not None
    assert work.refiner == catalog.get(ModelKind.CHECKPOINT, "late")
    assert (work.vae.family, work.loras[0].family) == ("sd1", "sd2")
    assert [(one.name, one.family) for one in work.embeddings] == [("fog", "sd1")]
    assert catalog.get(ModelKind.VAE, "fine").family == UNKNOWN


async def test_a_try_counts_once_a_picture_is_begun(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await house.ask(1)
    counted: list[int] = []
    generate = house.engine.generate

    async def counting(work: EngineWork) -> AsyncIterator[JobEvent]:
        counted.append((await found(house, number)).attempts)
        async for event in generate(work):
            yield event

    monkeypatch.setattr(house.engine, "generate", counting)
    house.engine.gate = asyncio.Event()
    async with running(house.worker), asyncio.timeout(PATIENCE):
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

    async def dies(work: EngineWork) -> AsyncIterator[JobEvent]:
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
