"""A running job is one worker's, until it ends or that worker is silent for too long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from generation.description import Description
from generation.elsewhere import WorkerStatus
from generation.job import Failure, IllegalTransitionError, Job, JobState
from storage.database import Database
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from storage.store import Store
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


@pytest.fixture
def one(database: Database, tmp_path: Path, clock: Clock) -> Store:
    """What one of two processes sees."""
    return Store(database, PictureFiles(tmp_path / "pictures"), now=clock.now, process="one")


@pytest.fixture
def two(database: Database, tmp_path: Path, clock: Clock) -> Store:
    return Store(database, PictureFiles(tmp_path / "pictures"), now=clock.now, process="two")


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
