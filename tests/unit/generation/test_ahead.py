"""What is handed to the engine before the job before it has ended: when, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from generation.job import Job, JobState
from generation.messages import Generate, Progress
from generation.pace import Pace
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.requests import a_request, an_origin
from tests.patience import PATIENCE
from tests.unit.generation.test_worker import FULL, House, found, running


@pytest.fixture(params=[0.0])
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    yield House(JobStore(database, PictureFiles(tmp_path / "pictures")), request.param)
    await database.dispose()


@pytest.fixture
def kept(house: House, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until it is set, the picture of the first job is not kept."""
    add_picture, go = house.jobs.add_picture, asyncio.Event()

    async def slow(*args: Any) -> None:
        await go.wait()
        await add_picture(*args)

    monkeypatch.setattr(house.jobs, "add_picture", slow)
    return go


async def until_handed(house: House, *numbers: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while house.engine.handed != [str(number) for number in numbers]:
            await asyncio.sleep(0.01)


async def states(house: House, *numbers: int) -> list[JobState]:
    return [(await found(house, number)).state for number in numbers]


async def planned(house: House) -> list[int]:
    return [one.job.id for one in await house.workers.plan()]


async def test_the_next_is_handed_over_while_this_one_is_kept(
    house: House, kept: asyncio.Event
) -> None:
    told: list[tuple[int, JobState]] = []
    house.workers.listen(lambda job, event: told.append((job.id, job.state)))
    first, second, third = [await house.ask(user) for user in (1, 2, 3)]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
        assert await states(house, first, second) == [JobState.RUNNING, JobState.QUEUED]
        assert house.worker.current is not None
        assert house.worker.current.id == first
        assert await planned(house) == [second, third], "it is shown as one that waits"
        assert all(number == first for number, _ in told)
        kept.set()
        await house.until_idle()
        # it is kept first, and then told
        while (third, JobState.FINISHED) not in told:
            await asyncio.sleep(0.01)
    assert house.engine.began == [str(first), str(second), str(third)]
    assert house.engine.handed == [str(second), str(third)], "one ahead, each once"
    assert house.engine.withdrawn == []
    # never two that run at once: what a kill leaves behind is one
    ends = [told.index((number, JobState.FINISHED)) for number in (first, second, third)]
    begins = [told.index((number, JobState.RUNNING)) for number in (first, second, third)]
    assert begins[0] < ends[0] < begins[1] < ends[1] < begins[2] < ends[2]


async def test_one_that_is_cancelled_before_it_begins_never_does(
    house: House, kept: asyncio.Event
) -> None:
    told: list[tuple[int, JobState]] = []
    house.workers.listen(lambda job, event: told.append((job.id, job.state)))
    first, second = [await house.ask(user) for user in (1, 2)]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
        cancelled = await house.jobs.cancel_waiting(second)
        assert cancelled is not None
        house.workers.tell(cancelled)
        assert house.engine.withdrawn == [str(second)], "at once"
        assert await planned(house) == []
        kept.set()
        await house.until_idle()
    assert house.engine.began == [str(first)]
    assert house.engine.withdrawn == [str(second)]
    assert [state for number, state in told if number == second] == [JobState.CANCELLED]


@pytest.mark.parametrize("others", [0, 1])
async def test_one_that_another_process_cancels_is_taken_back_in_its_turn(
    house: House, kept: asyncio.Event, others: int
) -> None:
    first, second, *rest = [await house.ask(user) for user in range(1, 3 + others)]
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
        await house.jobs.cancel_waiting(second)
        kept.set()
        await house.until_idle()
        while not others and not house.engine.withdrawn:
            await asyncio.sleep(0.01)
    assert house.engine.began == [str(number) for number in (first, *rest)]
    # where another follows, being asked for that one the engine drops it by itself
    assert house.engine.withdrawn == [str(second)] * (not others)


async def test_one_that_is_cancelled_while_it_is_made_ready_is_not_handed_over(
    house: House, kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await house.jobs.keep_upload(b"no picture")
    read, reading, go = house.jobs.read_upload, asyncio.Event(), asyncio.Event()

    async def slow(sha256: str) -> bytes:
        reading.set()
        await go.wait()
        return await read(sha256)

    monkeypatch.setattr(house.jobs, "read_upload", slow)
    first = await house.ask(1)
    second = await house.jobs.add(a_request(init_picture=upload), an_origin(2))
    house.asked.append(second.id)
    house.workers.wake()
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await reading.wait()
        cancelled = await house.jobs.cancel_waiting(second.id)
        assert cancelled is not None
        house.workers.tell(cancelled)
        go.set()
        kept.set()
        await house.until_idle()
    assert house.engine.began == [str(first)]
    assert house.engine.handed == []


@pytest.mark.parametrize("house", [1000.0], indirect=True)
@pytest.mark.parametrize("late", [False, True])
async def test_who_has_precedence_goes_first_until_another_was_handed_over(
    house: House, kept: asyncio.Event, late: bool
) -> None:
    """A job of the loaded model does."""
    first, swap = await house.ask(1), await house.ask(2, "other")
    same = 0 if late else await house.ask(3)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, swap if late else same)
        if late:
            same = await house.ask(3)
            house.workers.wake(await found(house, same))
        order = [swap, same] if late else [same, swap]
        assert await planned(house) == order
        kept.set()
        await house.until_idle()
    assert house.engine.began == [str(number) for number in (first, *order)]


@pytest.mark.parametrize("house", [1000.0], indirect=True)
async def test_what_an_engine_does_not_take_is_not_settled(
    house: House, kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    def refusing(work: Generate) -> bool:
        refused.set()
        return False

    monkeypatch.setattr(house.engine, "hand_ahead", refusing)
    first, swap = await house.ask(1), await house.ask(2, "other")
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await refused.wait()
        same = await house.ask(3)
        assert await planned(house) == [same, swap]
        kept.set()
        await house.until_idle()
    assert house.engine.began == [str(number) for number in (first, same, swap)]


async def test_an_engine_that_breaks_takes_down_what_it_draws_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 0.2)
    house.engine.gate = asyncio.Event()
    house.engine.failures = ["worker_died"]
    first, second = await house.ask(1, steps=1), await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
        house.engine.gate.set()
        while not house.engine.withdrawn:
            await asyncio.sleep(0.01)
        assert await states(house, first, second) == [JobState.RUNNING, JobState.QUEUED]
        late = await house.ask(0)  # as if nothing had been handed over
        assert not house.worker._waiting.holds(second)
        await house.until_idle()
    assert [(await found(house, number)).attempts for number in (first, second)] == [2, 1]
    assert await states(house, first, second, late) == [JobState.FINISHED] * 3
    assert house.engine.began.count(str(second)) == 1


async def test_a_stop_puts_both_back(
    house: House, kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.SAVED_WITHIN", 0.1)
    monkeypatch.setattr("generation.saving.SAVED_WITHIN", 0.1)
    first, second = await house.ask(1), await house.ask(2)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
    assert house.engine.withdrawn == [str(second)]
    assert await states(house, first, second) == [JobState.QUEUED] * 2
    assert [(await found(house, number)).attempts for number in (first, second)] == [0, 0]
    kept.set()
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await house.until_idle()
    assert await states(house, first, second) == [JobState.FINISHED] * 2


async def test_one_whose_files_are_gone_is_told_so_in_its_turn(
    house: House, kept: asyncio.Event
) -> None:
    first, second = await house.ask(1), await house.ask(2, "gone")
    async with running(house.worker), asyncio.timeout(PATIENCE):
        kept.set()
        await house.until_idle()
    assert await states(house, first, second) == [JobState.FINISHED, JobState.FAILED]
    assert house.engine.handed == []


@pytest.mark.parametrize("after", [False, True])
async def test_one_that_can_not_be_claimed_now_is_claimed_later(
    house: House, kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """The engine may have drawn it by then, and need not do so again."""
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_ERROR", 0.01)
    first, second = await house.ask(1), await house.ask(2)
    claim, failures = house.jobs.claim, [FULL] * 3

    async def failing(job_id: int, worker: str) -> Job | None:
        if job_id != second or not failures:
            return await claim(job_id, worker)
        if after:
            await claim(job_id, worker)
        raise failures.pop()

    monkeypatch.setattr(house.jobs, "claim", failing)
    async with running(house.worker), asyncio.timeout(PATIENCE):
        await until_handed(house, second)
        kept.set()
        await house.until_idle()
    assert house.engine.began == [str(first), str(second)]
    assert house.engine.withdrawn == []
    assert (await found(house, second)).attempts == 1


async def test_who_draws_one_job_alone_hands_over_no_other(house: House) -> None:
    first, _ = await house.ask(1), await house.ask(2)
    async with asyncio.timeout(PATIENCE):
        await house.worker.run_only(first)
    assert house.engine.began == [str(first)]
    assert house.engine.handed == []


ENDINGS = (
    # seconds between steps, where each is, and which of them are near the end
    (0.1, [0, 0, 1, 2, 3, 4], [3, 4]),
    (0.1, [0, 0, 4, 8, 12, 16], [12, 16]),
    (0.1, [0, 0, 1], [1]),
    (5.0, [0, 0, 1, 2, 3, 4], [4]),
)


@pytest.mark.parametrize(("seconds", "steps", "near"), ENDINGS)
def test_the_end_is_near_at_the_last_short_step(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: list[int], near: list[int]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("generation.pace.time.monotonic", lambda: clock[0])
    running, found = Pace(), []
    for index, step in enumerate(steps):
        stage = ("loading", "encoding", "denoising")[min(index, 2)]
        clock[0] += seconds
        running.hear(Progress("1", stage, step, steps[-1]))  # type: ignore[arg-type]
        if running.ending:
            found.append(step)
    assert found == near


def test_between_two_batches_the_end_is_not_near() -> None:
    running = Pace()
    for stage, step in (("denoising", 4), ("denoising", 5), ("decoding", 5)):
        running.hear(Progress("1", stage, step, 10))  # type: ignore[arg-type]
        assert not running.ending
    running.hear(Progress("1", "decoding", 10, 10))
    assert running.ending
