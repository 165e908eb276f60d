"""What is old goes, oldest first; what somebody wants, waits for or has given a star stays."""

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from generation.grids import Axis, GridPlan
from generation.job import Job
from storage.backup import back_up
from storage.database import Database, open_database
from storage.grids import NewCell
from storage.history import Query
from storage.intake import AskingLimits
from storage.picture_store import PictureMissingError
from storage.pictures import PictureFiles
from storage.retention import Gone, RetentionSettings
from storage.store import Store
from storage.tables import OwedRow
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_backup import quiet
from tests.unit.storage.test_jobs import MAKING, a_picture
from tests.unit.storage.test_personal_data import drawn

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GIB = 2**30


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def days_ago(self, days: float) -> None:
        self.now = NOW - timedelta(days=days)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, tmp_path: Path, clock: Clock) -> Store:
    return Store(database, PictureFiles(tmp_path / "pictures"), now=clock)


async def delivered(store: Store, png: bytes, user: int = 1, **changes: object) -> Job:
    job = await drawn(store, user, png=png, **changes)
    await store.jobs.mark_delivered(job.id)
    return job


async def is_kept(store: Store, job: Job) -> bool:
    found = await store.jobs.get(job.id)
    assert found is not None
    try:
        await store.jobs.read_picture(found.pictures[0])
    except PictureMissingError:
        return False
    return True


async def test_without_settings_everything_stays(store: Store, clock: Clock) -> None:
    clock.days_ago(5000)
    job = await delivered(store, b"old")
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings())
    assert (gone.pictures, gone.jobs) == (0, 0)
    assert await is_kept(store, job)


async def test_old_pictures_go_and_their_requests_stay(
    url: str, store: Store, clock: Clock, tmp_path: Path
) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"old", prompt="an old fox")
    starred = await delivered(store, b"starred")
    await store.history.set_favourite(2, starred.id, 0, True)
    clock.days_ago(29)
    young = await delivered(store, b"young")
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(pictures=30))
    assert (gone.pictures, gone.jobs, gone.messages) == (1, 0, ())
    assert not await is_kept(store, old)
    assert await is_kept(store, starred)
    assert await is_kept(store, young)
    # it can be made again, and held against what it was
    (again,) = (await store.history.page(1, Query(search="old fox"))).jobs
    assert again.request == old.request
    assert again.pictures[0].pixels_sha256 == old.pictures[0].pixels_sha256
    assert again.pictures[0].removed
    # and a backup misses nothing
    made = await back_up(url, store.retention._files, None, tmp_path / "b.zip", NOW, quiet)
    assert (made.pictures, made.missing) == (2, ())
    assert (await store.retention.keep_to(RetentionSettings(pictures=30))).pictures == 0


async def test_a_file_that_a_younger_job_names_stays(store: Store, clock: Clock) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"same")
    clock.days_ago(1)
    young = await delivered(store, b"same")
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(pictures=30))
    assert gone.pictures == 1
    assert await is_kept(store, young)
    assert await is_kept(store, old)  # the same file


async def test_old_requests_go_with_their_messages(store: Store, clock: Clock) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"old")
    await store.jobs.add_message(70, 7, old.id, "result")
    starred = await delivered(store, b"starred")
    await store.history.set_favourite(1, starred.id, 0, True)
    clock.days_ago(29)
    young = await delivered(store, b"young")
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(prompts=30))
    assert (gone.jobs, gone.messages) == (1, ((7, 70),))
    assert await store.jobs.to_take_back() == [(7, 70)]
    assert await store.jobs.get(old.id) is None
    assert await store.jobs.get(young.id) is not None
    assert await is_kept(store, starred)


async def test_what_somebody_waits_for_stays(
    store: Store, clock: Clock, database: Database
) -> None:
    clock.days_ago(31)
    undelivered = await drawn(store, png=b"undelivered")
    waiting = await store.jobs.add(a_request(), an_origin())
    held = await delivered(store, b"held")
    await store.approvals.ask(held.id, 10)
    owed = await delivered(store, b"owed")
    plain = await delivered(store, b"plain")
    row = {"message_id": 1, "kind": "ping", "channel_id": 7, "job_id": owed.id}
    async with database.begin() as connection:
        await connection.execute(insert(OwedRow).values(**row))
    parent = await delivered(store, b"parent")
    child = await store.jobs.add(a_request(), an_origin(), parent=parent.id, parent_picture=0)
    settings = RetentionSettings(prompts=30, pictures=30)
    clock.now = NOW
    await store.retention.keep_to(settings)
    for job in (undelivered, waiting, held, owed, parent, child):
        assert await store.jobs.get(job.id) is not None
    for job in (undelivered, held, parent):
        assert await is_kept(store, job)
    assert await store.jobs.get(plain.id) is None
    # until they are done
    await store.jobs.mark_delivered(undelivered.id)
    await store.approvals.decide(held.id, "approved", 9)
    await store.approvals.told(held.id)
    await store.jobs.claim(child.id)
    await store.jobs.add_picture(child.id, a_picture(), b"child")
    await store.jobs.finish(child.id, MAKING)
    await store.jobs.mark_delivered(child.id)
    assert (await store.retention.keep_to(settings)).jobs == 4


async def test_a_grid_that_is_not_done_stays_whole(store: Store, clock: Clock) -> None:
    """One message shows all of its pictures, also those that are delivered for themselves."""
    clock.days_ago(31)
    plan = GridPlan(prompt="a fox", given={}, seed=7, axes=(Axis("steps", ("4", "8")),))
    grid = await store.grids.get(await store.grids.propose(1, plan))
    assert grid is not None
    cells = [NewCell(place, a_request(seed=place)) for place in range(2)]
    jobs = await store.grids.ask(grid, cells, an_origin(), AskingLimits())
    assert jobs is not None
    for job in jobs:
        await store.jobs.claim(job.id)
        await store.jobs.add_picture(job.id, a_picture(), f"{job.id}".encode())
        await store.jobs.finish(job.id, MAKING)
    await store.jobs.mark_delivered(jobs[0].id)
    settings = RetentionSettings(prompts=30, pictures=30)
    clock.now = NOW
    gone = await store.retention.keep_to(settings)
    assert (gone.jobs, gone.pictures) == (0, 0)
    assert [await is_kept(store, job) for job in jobs] == [True, True]
    await store.grids.done(grid.id)
    assert (await store.retention.keep_to(settings)).jobs == 2
    assert await store.grids.get(grid.id) is None


@pytest.mark.skipif(not ON_SERVER, reason="about a database server")
async def test_of_several_processes_one_does_it_at_a_time(
    url: str, store: Store, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"old")
    clock.now = NOW
    settings = RetentionSettings(pictures=30)
    begun, go, remove = asyncio.Event(), asyncio.Event(), store.personal.remove_unused

    async def slow(files: Collection[str], age: timedelta) -> Sequence[str]:
        begun.set()
        await go.wait()
        return await remove(files, age)

    monkeypatch.setattr(store.personal, "remove_unused", slow)
    another = await open_database(url)
    other = Store(another, PictureFiles(tmp_path / "pictures", shared=True), now=clock)
    first = asyncio.create_task(store.retention.keep_to(settings))
    await begun.wait()
    assert await other.retention.keep_to(settings) == Gone(elsewhere=True)
    # what else there is to do is done beside it
    assert await other.personal.sweep(timedelta(hours=1)) == 0
    go.set()
    assert (await first).pictures == 1
    assert not await is_kept(store, old)
    assert await other.retention.keep_to(settings) == Gone()
    # one that falls over in the midst of it leaves it to the others
    begun.clear()
    go.clear()
    clock.days_ago(32)
    await delivered(store, b"older")
    clock.now = NOW
    second = asyncio.create_task(store.retention.keep_to(settings))
    await begun.wait()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert not (await other.retention.keep_to(settings)).elsewhere
    await another.dispose()


async def test_a_server_may_want_less_and_not_more(store: Store, clock: Clock) -> None:
    await store.settings.change_guild(10, keep_pictures=5, keep_prompts=20)
    await store.settings.change_guild(11, keep_pictures=100)
    jobs = {}
    for guild in (10, 11, None):
        for days in (6, 21, 31):
            clock.days_ago(days)
            job = await store.jobs.add(a_request(), an_origin(guild_id=guild))
            await store.jobs.claim(job.id)
            await store.jobs.add_picture(job.id, a_picture(), f"{guild} {days}".encode())
            await store.jobs.finish(job.id, MAKING)
            await store.jobs.mark_delivered(job.id)
            jobs[guild, days] = job
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(pictures=30))
    assert gone.jobs == 2
    left = {key for key, job in jobs.items() if await store.jobs.get(job.id) is not None}
    assert left == set(jobs) - {(10, 21), (10, 31)}
    whole = {key for key in left if await is_kept(store, jobs[key])}
    assert whole == {(11, 6), (11, 21), (None, 6), (None, 21)}


async def test_the_oldest_go_until_the_others_fit(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.retention.CHUNK", 1)
    jobs = []
    for number in range(6):
        clock.days_ago(10 - number)
        jobs.append(await delivered(store, bytes([number]) * 1000))
    await store.history.set_favourite(1, jobs[1].id, 0, True)
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(disk_gib=3500 / GIB))
    assert (gone.pictures, gone.too_much) == (3, 0)
    assert [await is_kept(store, job) for job in jobs] == [False, True, False, False, True, True]
    assert (await store.retention.keep_to(RetentionSettings(disk_gib=3500 / GIB))).pictures == 0
    # favourites alone are too much: they stay, and it is told
    gone = await store.retention.keep_to(RetentionSettings(disk_gib=500 / GIB))
    assert (gone.pictures, gone.too_much) == (2, 500)
    assert await is_kept(store, jobs[1])


async def test_no_more_go_than_are_too_much(store: Store, clock: Clock) -> None:
    jobs = []
    for number in range(20):
        clock.days_ago(40 - number)
        jobs.append(await delivered(store, bytes([number]) * 1000))
    # what two have in common goes with the second
    clock.days_ago(19)
    jobs.insert(1, await delivered(store, bytes([1]) * 1000))
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(disk_gib=8500 / GIB))
    assert (gone.pictures, gone.too_much) == (13, 0)
    assert sum([await is_kept(store, job) for job in jobs]) == 9


@pytest.mark.slow
async def test_others_write_while_much_goes(store: Store, clock: Clock) -> None:
    clock.days_ago(40)
    for number in range(150):
        await delivered(store, f"{number}".encode())
    clock.now = NOW
    waits = []

    async def ask() -> None:
        while True:
            begun = time.monotonic()
            await store.jobs.add(a_request(), an_origin(2))
            waits.append(time.monotonic() - begun)
            await asyncio.sleep(0.005)

    others = asyncio.create_task(ask())
    gone = await store.retention.keep_to(RetentionSettings(prompts=30))
    others.cancel()
    assert gone.jobs == 150
    assert len(waits) >= 3
