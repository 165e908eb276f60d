"""Workers of other processes that draw from the same queue: what is known of them, and whose turn
it is over all of them.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from generation.elsewhere import WorkerStatus, status_of
from generation.engines.fake import FakeEngine
from generation.job import Job, JobState
from generation.messages import JobEvent
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.worker_pool import NOBODY, Awaited
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.requests import a_request
from tests.unit.generation.test_worker_pool import House, running


@pytest.fixture
async def houses(tmp_path: Path) -> AsyncIterator[list[House]]:
    """Two processes over one database."""
    found = []
    async with contextlib.AsyncExitStack() as stack:
        for name in "ab":
            database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
            stack.push_async_callback(database.dispose)
            files = PictureFiles(tmp_path / "pictures", shared=True)
            found.append(House(JobStore(database, files, process=name)))
        yield found


async def test_what_waits_is_planned_over_all(houses: list[House]) -> None:
    one, two = houses
    one.engage("a/main")
    two.engage("b/main")
    for _ in range(4):
        await one.ask()
    await two.workers.workers[0]._waiting.look(again=True)
    alone = await one.workers.plan()
    assert {planned.worker for planned in alone} == {"a/main"}
    told = [await status_of(worker) for worker in two.workers.workers]
    one.workers.know_others(told)
    together = await one.workers.plan()
    assert [planned.worker for planned in together] == ["a/main", "b/main", "a/main", "b/main"]
    assert together[-1].seconds_until_done < alone[-1].seconds_until_done
    # one that is busy for long is given nothing
    busy = WorkerStatus(name="b/main", job=99, seconds_left=1e6)
    one.workers.know_others([busy])
    assert {planned.worker for planned in await one.workers.plan()} == {"a/main"}
    left = await one.workers.seconds_left(99)
    assert left is not None
    assert 1e6 - 60 < left <= 1e6
    assert await one.workers.seconds_left(98) is None
    one.workers.know_others([])
    assert await one.workers.seconds_left(99) is None


async def test_a_host_that_another_has_draw_is_not_waited_for(houses: list[House]) -> None:
    """A process without workers says where a request's files are, and not that they are away."""
    one, _ = houses
    workers, job = one.workers, await one.jobs.get(await one.ask())
    assert job is not None
    workers.places = lambda _: ("attic",)
    workers.runs_on = lambda host: lambda job: host == "attic" and job.request.model == "demo"
    assert workers.awaits(job) == Awaited(("attic",))
    workers.know_others([WorkerStatus(name="b/cellar", host="cellar")])
    assert workers.awaits(job) == Awaited(("attic",))
    workers.know_others([WorkerStatus(name="b/attic", host="attic")])
    assert workers.awaits(job) == NOBODY
    # one that draws by itself has the same models
    workers.know_others([WorkerStatus(name="b/main")])
    assert workers.awaits(job) == NOBODY


async def test_what_only_another_can_be_told_is_accepted(houses: list[House]) -> None:
    one, _ = houses

    def refuse(_: GenerationRequest) -> None:
        raise Refused("not_here")

    one.workers.add("a/comfyui", FakeEngine(), check=refuse)
    with pytest.raises(Refused, match="not_here"):
        one.workers.check(a_request())
    one.workers.know_others([WorkerStatus(name="b/comfyui", tells_all=False)])
    with pytest.raises(Refused, match="not_here"):
        one.workers.check(a_request())
    one.workers.know_others([WorkerStatus(name="b/main")])
    one.workers.check(a_request())


@pytest.mark.parametrize("asked_in", [1, 2])
async def test_who_asks_in_several_gets_no_larger_share(houses: list[House], asked_in: int) -> None:
    """The first has many requests, asked in one process or in both; the second has some in one."""
    drawn: list[int] = []

    def note(job: Job, event: JobEvent | None) -> None:
        if event is None and job.state is JobState.RUNNING:
            drawn.append(job.origin.user_id)

    for house, name in zip(houses, "ab", strict=True):
        house.engage(f"{name}/1", f"{name}/2", step_seconds=0.005)
        house.workers.listen(note)
    for number in range(24):
        await houses[number % asked_in].ask(user=1)
    for _ in range(12):
        await houses[0].ask(user=2)
    async with running(houses[0].workers), running(houses[1].workers):
        for house in houses:
            await house.until_idle()
    # while both wait each gets half, but for one request of each process
    for count in range(1, 25):
        shares = Counter(drawn[:count])
        assert abs(shares[1] - shares[2]) <= 3, (count, drawn)
