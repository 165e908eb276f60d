"""A running job is one worker's, until it ends or that worker is silent for too long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from generation.description import Description
from generation.elsewhere import WorkerStatus
from generation.job import Failure, IllegalTransitionError, Job, JobState
from storage.database import Database
from storage.jobs import JobStore
from storage.owed import Owed
from storage.pictures import PictureFiles
from storage.store import Store
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture

SILENT = timedelta(seconds=30)


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of_process(name: str, database: Database, folder: Path, clock: Clock) -> Store:
    store = Store(database, PictureFiles(folder / "pictures"), now=clock.now, process=name)
    store.leases.at_server = False
    return store


@pytest.fixture
def one(database: Database, tmp_path: Path, clock: Clock) -> Store:
    """What one of two processes sees."""
    return of_process("one", database, tmp_path, clock)


@pytest.fixture
def two(database: Database, tmp_path: Path, clock: Clock) -> Store:
    return of_process("two", database, tmp_path, clock)


@pytest.fixture
def jobs(one: Store) -> JobStore:
    return one.jobs


async def leased(jobs: JobStore, *workers: str) -> list[Job]:
    found = []
    for worker in workers:
        job = await jobs.claim((await jobs.add(a_request(), an_origin())).id, worker)
        assert job is not None
        found.append(job)
    return found


async def states(jobs: JobStore, *numbers: int) -> list[JobState]:
    found = [await jobs.get(number) for number in numbers]
    return [job.state for job in found if job is not None]


async def test_what_an_earlier_claim_says_is_not_heard(jobs: JobStore) -> None:
    """Whoever slept while another took the job over changes nothing of it any more."""
    [first] = await leased(jobs, "a")
    number = first.id
    await jobs.requeue(number, lease=first.lease)
    second = await jobs.claim(number, "b")
    assert second is not None
    assert second.lease > first.lease
    for late in (
        jobs.begin(number, first.lease),
        jobs.add_picture(number, a_picture(), b"late", first.lease),
        jobs.add_description(number, Description(), first.lease),
        jobs.finish(number, MAKING, first.lease),
        jobs.fail(number, Failure("internal_error"), first.lease),
        jobs.requeue(number, lease=first.lease),
    ):
        with pytest.raises(IllegalTransitionError):
            await late
    assert await jobs.get(number) == second
    await jobs.begin(number, second.lease)
    await jobs.add_picture(number, a_picture(), b"in time", second.lease)
    ended = await jobs.finish(number, MAKING, second.lease)
    assert (len(ended.pictures), ended.attempts) == (1, 1)


async def test_who_says_nothing_loses_their_jobs_once(one: Store, two: Store, clock: Clock) -> None:
    await one.leases.beat([WorkerStatus(name="mine")])
    await two.leases.beat([WorkerStatus(name="theirs")])
    mine, theirs = [job.id for job in await leased(one.jobs, "mine", "theirs")]
    clock.forward(20)
    await one.leases.beat([WorkerStatus(name="mine")])
    assert await one.leases.take_from_silent(SILENT) == []
    clock.forward(20)
    assert [job.id for job in await one.leases.take_from_silent(SILENT)] == [theirs]
    assert await one.leases.take_from_silent(SILENT) == []
    assert await states(one.jobs, mine, theirs) == [JobState.RUNNING, JobState.QUEUED]


async def test_a_start_takes_up_its_own_and_nobodys(one: Store, two: Store) -> None:
    await one.leases.beat([WorkerStatus(name="mine")])
    await two.leases.beat([WorkerStatus(name="theirs")])
    mine, theirs, nobodys = [job.id for job in await leased(one.jobs, "mine", "theirs", "")]
    assert [job.id for job in await one.leases.recover()] == [mine, nobodys]
    assert await states(one.jobs, theirs) == [JobState.RUNNING]
    # a worker that its process has no more leaves what it had to whoever starts
    await two.leases.beat([WorkerStatus(name="another")])
    assert [job.id for job in await one.leases.recover()] == [theirs]


async def test_the_only_process_takes_up_all(jobs: JobStore) -> None:
    numbers = [job.id for job in await leased(jobs, "main", "gone", "")]
    assert [job.id for job in await jobs.recover()] == numbers


async def test_each_delivers_what_it_was_asked_for(one: Store, two: Store, clock: Clock) -> None:
    await one.leases.beat([])
    await two.leases.beat([])
    [own] = await leased(one.jobs, "a")
    [other] = await leased(two.jobs, "a")
    for job in (own, other):
        await one.jobs.finish(job.id, MAKING, job.lease)
    assert [job.id for job in await one.jobs.undelivered()] == [own.id]
    assert [job.id for job in await two.jobs.undelivered()] == [other.id]
    # what a process leaves behind that does not come back is another's
    assert await one.leases.adopt(SILENT) == []
    clock.forward(40)
    await one.leases.beat([])
    assert await one.leases.adopt(SILENT) == [other.id]
    assert [job.id for job in await one.jobs.undelivered()] == [own.id, other.id]
    assert await one.leases.adopt(SILENT) == []


@pytest.mark.skipif(not ON_SERVER, reason="about a database server")
async def test_nobody_is_silent_because_clocks_differ(
    one: Store, two: Store, database: Database, tmp_path: Path
) -> None:
    late = Clock()
    late.forward(3600)
    other = of_process("two", database, tmp_path, late)
    for store in (one, other):
        store.leases.at_server = True
    [job] = await leased(one.jobs, "mine")
    await one.leases.beat([WorkerStatus(name="mine", seconds_left=50.0)])
    await other.leases.beat([])
    assert await other.leases.take_from_silent(SILENT) == []
    assert await other.leases.adopt(SILENT) == []
    assert await states(one.jobs, job.id) == [JobState.RUNNING]
    [told] = await other.leases.others(SILENT)
    assert told.name == "mine"
    assert 0 < told.seconds_left <= 50
    assert await one.leases.others(SILENT) == []


async def test_each_knows_what_the_others_do(one: Store, two: Store, clock: Clock) -> None:
    status = WorkerStatus(name="theirs", device="a card", model="demo", job=3, seconds_left=20.0)
    await two.leases.beat([status])
    clock.forward(5)
    [told] = await one.leases.others(SILENT)
    assert told == msgspec.structs.replace(status, seconds_left=15.0)
    assert await two.leases.others(SILENT) == []
    clock.forward(40)
    assert await one.leases.others(SILENT) == []


async def test_what_others_draw_is_named(one: Store, two: Store) -> None:
    await one.leases.beat([WorkerStatus(name="mine")])
    await two.leases.beat([WorkerStatus(name="theirs")])
    mine, theirs = await leased(one.jobs, "mine", "theirs")
    assert [(n, job.id) for n, job in await one.leases.drawn_elsewhere()] == [("theirs", theirs.id)]
    assert [(n, job.id) for n, job in await two.leases.drawn_elsewhere()] == [("mine", mine.id)]


async def test_what_is_owed_and_asked_is_taken_over_too(
    one: Store, two: Store, clock: Clock
) -> None:
    """Of what is delivered, what is not done yet; of what is done, nothing."""
    await one.leases.beat([])
    await two.leases.beat([])
    jobs = await leased(two.jobs, *"abc")
    for job in jobs:
        await two.jobs.finish(job.id, MAKING, job.lease)
        await two.jobs.mark_delivered(job.id)
    pinged, held, _ = jobs
    await two.jobs.owed.note([Owed("ping", pinged.id, 7, 70)])
    await two.approvals.ask(held.id, 10)
    assert await one.jobs.owed.left() == []
    assert [owed.job_id for owed in await two.jobs.owed.left()] == [pinged.id]
    clock.forward(40)
    await one.leases.beat([])
    assert await one.leases.adopt(SILENT) == [pinged.id, held.id]
    assert [owed.job_id for owed in await one.jobs.owed.left()] == [pinged.id]
    assert await two.jobs.owed.left() == []
    assert await one.approvals.unasked() == [held.id]
