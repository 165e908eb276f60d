"""Several workers and the one queue that they share, with a real store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.locales import Texts
from bot.ui.job_embeds import awaits
from generation import course
from generation.engines.fake import FakeEngine
from generation.job import Job, JobState
from generation.messages import JobEvent
from generation.schedule import Planned
from generation.worker_pool import NOBODY, Awaited, WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.requests import a_request, an_origin
from tests.patience import PATIENCE
from tests.unit.generation.catalogs import a_catalog, a_model


class House:
    """A store, workers by name that have not begun yet, and who drew what."""

    def __init__(self, jobs: JobStore) -> None:
        self.jobs = jobs
        self.workers = WorkerPool(jobs, a_catalog(a_model("demo"), a_model("other")), affinity=60.0)
        self.engines: dict[str, FakeEngine] = {}
        self.changed = asyncio.Event()
        self.asked: list[int] = []
        self.workers.listen(self._hear)

    def _hear(self, _job: Job, _event: JobEvent | None) -> None:
        self.changed.set()

    def engage(
        self, *names: str, step_seconds: float = 0.0, runs: Callable[[Job], bool] | None = None
    ) -> None:
        for name in names:
            self.engines[name] = FakeEngine(step_seconds=step_seconds)
            self.workers.add(name, self.engines[name], runs=runs)

    async def ask(self, user: int = 1, model: str = "demo", steps: int = 4) -> int:
        job = await self.jobs.add(a_request(model=model, steps=steps), an_origin(user))
        self.asked.append(job.id)
        self.workers.wake(job)
        return job.id

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.05)

    async def until_idle(self) -> None:
        """Until all that was asked for has ended."""
        async with asyncio.timeout(PATIENCE):
            for number in self.asked:
                while not (await self.job(number)).ended:
                    await asyncio.sleep(0.01)

    async def job(self, number: int) -> Job:
        job = await self.jobs.get(number)
        assert job is not None
        return job

    @property
    def drew(self) -> dict[str, list[int]]:
        return {name: [int(job) for job in each.began] for name, each in self.engines.items()}


@contextlib.asynccontextmanager
async def running(pool: WorkerPool) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    yield House(JobStore(database, PictureFiles(tmp_path / "pictures")))
    await database.dispose()


async def test_each_job_is_drawn_once_and_two_at_a_time(house: House) -> None:
    house.engage("first", "second", step_seconds=0.02)
    for user in range(12):
        await house.ask(user)
    together = 0

    def look(_job: Job, _event: JobEvent | None) -> None:
        nonlocal together
        together = max(together, len(house.workers.running))

    house.workers.listen(look)
    async with running(house.workers):
        await house.until_idle()
    assert sorted(house.drew["first"] + house.drew["second"]) == house.asked
    assert min(map(len, house.drew.values())) > 3
    assert together == 2
    for number in house.asked:
        provenance = (await house.job(number)).provenance
        assert provenance is not None
        assert number in house.drew[provenance.worker]


async def test_the_order_is_one_and_fair_over_all_of_them(house: House) -> None:
    """Who has asked for ten has two drawn by the time that who asked for one has theirs."""
    house.engage("first", "second", step_seconds=0.01)
    for _ in range(10):
        await house.ask(1)
    late = await house.ask(2)
    began: list[int] = []

    def note(job: Job, event: JobEvent | None) -> None:
        if event is None and job.state is JobState.RUNNING:
            began.append(job.id)

    house.workers.listen(note)
    async with running(house.workers):
        await house.until_idle()
    assert began.index(late) <= 3, began


@pytest.mark.parametrize("model", ["demo", "other"])
async def test_of_those_who_rest_who_has_the_model_loaded_draws(house: House, model: str) -> None:
    house.engage("first", "second")
    first, second = house.workers.workers
    first.loaded, second.loaded = "demo", "other"
    worker = "first" if model == "demo" else "second"
    async with running(house.workers):
        await asyncio.sleep(0.1)
        for _ in range(3):
            number = await house.ask(1, model)
            await house.until_idle()
            await house.until(lambda: not house.workers.running)
            assert house.drew[worker][-1] == number


async def test_who_becomes_free_goes_on_with_its_model(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the engine loads nothing, as if every model were in memory
    monkeypatch.setattr(course, "WORTH_WAITING", 0.0)
    house.engage("first", "second", step_seconds=0.02)
    first, second = house.workers.workers
    first.loaded, second.loaded = "demo", "other"
    for user in range(12):
        await house.ask(user, "demo" if user % 2 else "other")
    async with running(house.workers):
        await house.until_idle()
    # at the end, who has nothing left of its own helps the other
    for worker, model in (("first", "demo"), ("second", "other")):
        drawn = [(await house.job(number)).request.model for number in house.drew[worker]]
        assert set(drawn[:5]) == {model}, (worker, drawn)


async def test_a_plan_says_who_draws_what_and_when(house: House) -> None:
    house.engage("first", "second")
    for user in range(4):
        await house.ask(user, steps=10)
    planned = await house.workers.plan()
    assert [one.job.id for one in planned] == house.asked
    assert [one.place for one in planned] == [0, 1, 2, 3]
    assert {one.worker for one in planned[:2]} == {"first", "second"}
    starts = [one.seconds_until_start for one in planned]
    assert starts[:2] == [0, 0]
    assert starts[2] == starts[3] == pytest.approx(planned[0].seconds_until_done)
    one_alone = WorkerPool(house.jobs, a_catalog(a_model("demo")))
    one_alone.add("alone", FakeEngine())
    alone = await one_alone.plan()
    starts = [one.seconds_until_start for one in alone]
    assert len(set(starts)) == len(starts) == 4
    assert starts == sorted(starts)


async def test_a_job_goes_only_where_it_can_be_drawn(house: House) -> None:
    house.engage("demos", step_seconds=0.01, runs=lambda job: job.request.model == "demo")
    house.engage("all", step_seconds=0.2)
    for user, model in enumerate(("other", "demo", "other", "demo", "demo", "demo")):
        await house.ask(user, model)

    def able(planned: Planned) -> bool:
        return planned.worker == "all" or planned.job.request.model == "demo"

    assert all(able(one) for one in await house.workers.plan())
    async with running(house.workers):
        await house.until_idle()
    others = {number for number in house.asked if (number - 1) in (0, 2)}
    assert others <= set(house.drew["all"])
    assert house.drew["demos"]


async def test_one_that_nobody_can_draw_waits_for_who_can(house: House) -> None:
    house.engage("demos", runs=lambda job: job.request.model == "demo")
    async with running(house.workers):
        other = await house.ask(1, "other")
        demo = await house.ask(1, "demo")
        await house.until(lambda: house.drew["demos"] == [demo])
        await asyncio.sleep(0.1)
        assert (await house.job(other)).state is JobState.QUEUED
        house.engage("late")
        await house.until_idle()
    assert house.drew["late"] == [other]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_who_waits_for_a_program_that_is_away_is_told_so_until_it_is_back(
    house: House, locale: str
) -> None:
    there = False
    engine = FakeEngine()
    house.workers.add(
        "one", engine, runs=lambda _job: there, would=lambda _job: True, program="ComfyUI"
    )
    told: list[int] = []
    house.workers.listen(lambda job, _event: told.append(job.id))
    async with running(house.workers):
        number = await house.ask()
        job = await house.job(number)
        assert house.workers.awaits(job) == Awaited(programs=("ComfyUI",))
        said = awaits(house.workers.awaits(job), "demo", Texts(locale))
        assert said.count("ComfyUI") == 1
        house.workers.moved()
        assert told == [number]
        house.workers.moved()
        assert told == [number], "once for each change"
        there = True
        house.workers.moved()
        await house.until_idle()
        assert house.workers.awaits(job) == NOBODY
    assert engine.began == [str(number)]


async def test_of_several_that_are_away_each_is_named_and_none_where_another_draws(
    house: House,
) -> None:
    for name in ("one", "other"):
        house.workers.add(
            name,
            FakeEngine(),
            runs=lambda _job: False,
            would=lambda job: job.request.model == "demo",
            program="ComfyUI",
        )
    demo, other = [await house.job(await house.ask(model=model)) for model in ("demo", "other")]
    names = house.workers.awaits(demo).names
    assert names == ("ComfyUI (one)", "ComfyUI (other)")
    assert house.workers.awaits(other) == NOBODY, "it would not draw that"
    house.engage("own")
    assert house.workers.awaits(demo) == NOBODY


async def test_they_come_and_go(house: House) -> None:
    house.engage("first", step_seconds=0.05)
    async with running(house.workers):
        numbers = [await house.ask(user, steps=8) for user in range(3)]
        await house.until(lambda: house.drew["first"] == numbers[:1])
        house.engage("second", step_seconds=0.01)
        await house.until(lambda: len(house.workers.running) == 2)
        await house.workers.remove("first")
        assert [worker.name for worker in house.workers.workers] == ["second"]
        await house.until_idle()
    assert set(house.drew["second"]) == set(numbers), "what the first had waits again"
    assert (await house.job(numbers[0])).attempts <= 2
    with pytest.raises(ValueError, match="second"):
        house.engage("second")


async def test_what_is_cancelled_stops_where_it_is_drawn(house: House) -> None:
    house.engage("first", "second", step_seconds=0.05)
    async with running(house.workers):
        one, two = [await house.ask(user, steps=20) for user in (1, 2)]
        await house.until(lambda: len(house.workers.running) == 2)
        assert await house.workers.seconds_left(two) is not None
        await house.workers.cancel(two)
        await house.until_idle()
    assert (await house.job(two)).state is JobState.CANCELLED
    assert (await house.job(one)).state is JobState.FINISHED
    assert await house.workers.seconds_left(two) is None


async def test_times_are_those_of_each_worker(house: House) -> None:
    house.engage("slow", step_seconds=0.05, runs=lambda job: job.origin.user_id == 1)
    house.engage("quick", step_seconds=0.005, runs=lambda job: job.origin.user_id == 2)
    async with running(house.workers):
        for user in (1, 2, 1, 2):
            await house.ask(user)
        await house.until_idle()
        # another process counts by what is kept
        again = WorkerPool(house.jobs, a_catalog(a_model("demo")))
        for pool in (house.workers, again):
            if pool is again:
                for name in ("slow", "quick"):
                    again.add(name, FakeEngine())
            request = a_request(model="demo", steps=4)
            times = {
                worker.name: (await worker.hand()).times.making(request) for worker in pool.workers
            }
            assert times["slow"] > 3 * times["quick"], times
