"""What quotas and estimates go by, from a real SQLite file."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import update

from bot.access import quotas
from generation.job import Failure, Job, JobState, Provenance
from storage.database import Database
from storage.intake import AskingLimits, QuotaReachedError
from storage.jobs import JobStore
from storage.quota_usage import UsageStore
from storage.store import Store
from storage.tables import JobRow
from tests.fixtures.requests import a_request, an_origin

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAKING = Provenance(
    seconds=1.5, seconds_loading=0.5, batch_size=2, memory_peak=0, hashes={}, versions={}
)


async def asked(
    database: Database,
    jobs: JobStore,
    hours_ago: float,
    count: int,
    user: int = 1,
    **origin: int,
) -> Job:
    job = await jobs.add(a_request(count=count), an_origin(user, **origin))
    when = NOW - timedelta(hours=hours_ago)
    async with database.begin() as connection:
        await connection.execute(update(JobRow).where(JobRow.id == job.id).values(created_at=when))
    return job


async def used(
    usage: UsageStore, user: int, guild: int | None, since: datetime
) -> list[tuple[datetime, int]]:
    """When how many pictures were asked for; the database adds up the same."""
    found = await usage.pictures_since(user, guild, since)
    assert await usage.count_since(user, guild, since) == sum(count for _, count in found)
    return found


async def finished(jobs: JobStore, job: Job, seconds: float) -> None:
    await jobs.claim(job.id)
    await jobs.finish(job.id, msgspec.structs.replace(MAKING, seconds=seconds))


async def test_pictures_of_the_last_day_on_this_server(database: Database, jobs: JobStore) -> None:
    usage = UsageStore(database)
    since = NOW - quotas.WINDOW
    await asked(database, jobs, 25, 4)
    await finished(jobs, await asked(database, jobs, 20, 3), 1.0)
    await asked(database, jobs, 19, 4, user=2)
    await asked(database, jobs, 18, 4, guild_id=11)
    await asked(database, jobs, 2, 2)
    assert await used(usage, 1, 10, since) == [
        (NOW - timedelta(hours=20), 3),
        (NOW - timedelta(hours=2), 2),
    ]
    assert await used(usage, 1, 11, since) == [(NOW - timedelta(hours=18), 4)]
    assert await used(usage, 3, 10, since) == []


async def test_pictures_outside_of_all_servers_are_counted_apart(
    database: Database, jobs: JobStore, store: Store
) -> None:
    usage = UsageStore(database)
    since = datetime.now(UTC) - quotas.WINDOW
    origin = an_origin(1, guild_id=None)
    job = await jobs.add(a_request(count=3), origin)
    await jobs.add(a_request(count=1), an_origin(1))
    assert [count for _, count in await used(usage, 1, None, since)] == [3]
    assert [count for _, count in await used(usage, 1, 10, since)] == [1]
    with pytest.raises(QuotaReachedError):
        await jobs.add(a_request(count=2), origin, limits=AskingLimits(pictures=4))
    await jobs.add(a_request(count=1), origin, limits=AskingLimits(pictures=4))
    # deleting gives nothing back
    await finished(jobs, job, 1.0)
    await store.personal.delete_job(job.id)
    counts = [count for _, count in await used(usage, 1, None, since)]
    assert sorted(counts) == [1, 3]
    assert [count for _, count in await used(usage, 1, 10, since)] == [1]


async def test_what_was_not_drawn_costs_nothing(database: Database, jobs: JobStore) -> None:
    usage = UsageStore(database)
    broken, cancelled, running = [await asked(database, jobs, 1, 2) for _ in range(3)]
    await jobs.fail(broken.id, Failure("internal_error"))
    await jobs.cancel_waiting(cancelled.id)
    await jobs.claim(running.id)
    assert await used(usage, 1, 10, NOW - quotas.WINDOW) == [(NOW - timedelta(hours=1), 2)]


async def test_what_was_forgiven_counts_no_more(
    database: Database, jobs: JobStore, store: Store
) -> None:
    """On that server alone, where it is looked at and where requests are written."""
    now = datetime.now(UTC)
    usage, limits = store.usage, AskingLimits(pictures=4)
    for guild in (10, 11):
        await jobs.add(a_request(count=4), an_origin(1, guild_id=guild), limits=limits)
    deleted = await jobs.add(a_request(count=2), an_origin(2), limits=limits)
    await finished(jobs, deleted, 1.0)
    await store.personal.delete_job(deleted.id)
    await usage.reset(1, 10)
    await usage.reset(2, 10)
    since = now - quotas.WINDOW
    assert await used(usage, 1, 10, since) == []
    assert await used(usage, 2, 10, since) == []
    assert [count for _, count in await used(usage, 1, 11, since)] == [4]
    await jobs.add(a_request(count=3), an_origin(1), limits=limits)
    assert [count for _, count in await used(usage, 1, 10, since)] == [3]
    with pytest.raises(QuotaReachedError) as reached:
        await jobs.add(a_request(count=2), an_origin(1), limits=limits)
    assert [count for _, count in reached.value.used] == [3]
    with pytest.raises(QuotaReachedError) as reached:
        await jobs.add(a_request(count=1), an_origin(1, guild_id=11), limits=limits)
    assert [count for _, count in reached.value.used] == [4]
    assert await used(usage, 1, 10, datetime.now(UTC)) == []


async def test_windows_of_several_lengths_hold_beside_each_other(jobs: JobStore) -> None:
    """Of people who ask in the same instant."""
    long, short = AskingLimits(pictures=4), AskingLimits(pictures=4, window=timedelta(seconds=-1))
    await jobs.add(a_request(count=4), an_origin(1))
    asked = [jobs.add(a_request(count=4), an_origin(1), limits=limits) for limits in (long, short)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [QuotaReachedError, Job]


async def test_who_waits_is_counted_by_person(jobs: JobStore) -> None:
    own = [await jobs.add(a_request(), an_origin(1)) for _ in range(3)]
    await jobs.add(a_request(), an_origin(2))
    await jobs.claim(own[0].id)
    assert await jobs.count_waiting(1) == 3
    await jobs.finish(own[0].id, MAKING)
    await jobs.cancel_waiting(own[1].id)
    assert await jobs.count_waiting(1) == 1
    assert await jobs.count_waiting(2) == 1


async def test_measurements_come_in_the_order_of_drawing_newest_first(jobs: JobStore) -> None:
    first, second, third, broken = [await jobs.add(a_request(), an_origin()) for _ in range(4)]
    for seconds, job in enumerate((second, third, first), 1):
        await finished(jobs, job, seconds)
    await jobs.fail(broken.id, Failure("internal_error"))
    found = await jobs.measurements()
    assert [measured.seconds for measured in found] == [3, 2, 1]
    assert {measured.seconds_loading for measured in found} == {0.5}
    assert (await jobs.get(first.id) or first).state is JobState.FINISHED
