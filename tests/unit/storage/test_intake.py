"""New jobs in one commit: each on disk, each held against its owner's limits."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from generation.job import Failure, Job
from storage.database import Database
from storage.intake import AskingLimits, QuotaReachedError, TooManyWaitingError
from storage.jobs import JobStore
from storage.tables import JobRow
from tests.fixtures.requests import a_request, an_origin


async def age(database: Database, job: Job, by: timedelta) -> None:
    async with database.begin() as connection:
        then = datetime.now(UTC) - by
        await connection.execute(update(JobRow).where(JobRow.id == job.id).values(created_at=then))


async def test_who_asks_in_the_same_instant_shares_a_commit(
    jobs: JobStore, statements: list[str]
) -> None:
    asked = [jobs.add(a_request(prompt=f"{n}"), an_origin(n)) for n in range(1, 101)]
    added = await asyncio.gather(*asked)
    assert 1 <= statements.count("COMMIT") <= 2
    found = {job.id: job for job in await jobs.waiting()}
    assert [found[job.id] for job in added] == added
    assert [job.request.prompt for job in await jobs.waiting()] == [f"{n}" for n in range(1, 101)]


async def test_one_that_can_not_be_written_fails_alone(jobs: JobStore) -> None:
    prompts = ["one", "two \ud800", "three"]
    outcomes = await asyncio.gather(
        *(jobs.add(a_request().with_(prompt="x"), an_origin(user_name=p)) for p in prompts),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Job) for outcome in outcomes] == [True, False, True]
    assert [job.origin.user_name for job in await jobs.waiting()] == ["one", "three"]


async def test_of_requests_sent_together_none_slips_past_a_limit(jobs: JobStore) -> None:
    limits = AskingLimits(waiting=3)
    asked = [jobs.add(a_request(), an_origin(n % 2), limits=limits) for n in range(10)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Job] * 6 + [TooManyWaitingError] * 4
    with pytest.raises(TooManyWaitingError) as refused:
        await jobs.add(a_request(), an_origin(1), limits=limits)
    assert refused.value.count == 3
    assert await jobs.count_waiting(1) == 3
    assert isinstance(await jobs.add(a_request(), an_origin(1)), Job)
    assert isinstance(await jobs.add(a_request(), an_origin(2), limits=limits), Job)


async def test_a_quota_counts_pictures_of_the_window_on_one_server(
    database: Database, jobs: JobStore
) -> None:
    limits = AskingLimits(pictures=10, window=timedelta(hours=24))
    old = await jobs.add(a_request(count=8), an_origin(), limits=limits)
    await age(database, old, timedelta(hours=25))
    asked = [jobs.add(a_request(count=4), an_origin(), limits=limits) for _ in range(4)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(map(type, outcomes)) == {Job: 2, QuotaReachedError: 2}
    refused = outcomes[2]
    assert isinstance(refused, QuotaReachedError)
    assert [count for _, count in refused.used] == [4, 4]
    assert refused.limit == 10
    # a smaller wish still fits, and other servers, people and direct messages count apart
    for origin in (an_origin(), an_origin(guild_id=11), an_origin(2), an_origin(guild_id=None)):
        assert isinstance(await jobs.add(a_request(count=2), origin, limits=limits), Job)
    assert isinstance(outcomes[0], Job)
    await jobs.fail(outcomes[0].id, Failure("internal_error"))
    assert isinstance(await jobs.add(a_request(count=4), an_origin(), limits=limits), Job)


async def test_an_event_that_comes_twice_makes_one_job(jobs: JobStore) -> None:
    twice = [jobs.add(a_request(), an_origin(), asked_by="i:1") for _ in range(2)]
    first, second = await asyncio.gather(*twice)
    assert first == second
    third = await jobs.add(a_request(prompt="else"), an_origin(), asked_by="i:1")
    assert third == first
    other = await jobs.add(a_request(), an_origin(), asked_by="i:2")
    assert [job.id for job in await jobs.waiting()] == [first.id, other.id]
    # limits are no matter for what was accepted already
    again = await jobs.add(a_request(), an_origin(), asked_by="i:2", limits=AskingLimits(waiting=1))
    assert again.id == other.id


async def test_a_deliberate_repeat_makes_another(database: Database, jobs: JobStore) -> None:
    held_for = timedelta(minutes=1)
    first = await jobs.add(a_request(), an_origin(), asked_by="r:1:2:x", held_for=held_for)
    await age(database, first, timedelta(minutes=2))
    second = await jobs.add(a_request(), an_origin(), asked_by="r:1:2:x", held_for=held_for)
    assert second.id != first.id
    third = await jobs.add(a_request(), an_origin(), asked_by="r:1:2:x", held_for=held_for)
    assert third.id == second.id


async def test_a_parent_that_was_deleted_meanwhile_is_left_out(jobs: JobStore) -> None:
    job = await jobs.add(a_request(), an_origin(), parent=4711)
    found = await jobs.get(job.id)
    assert found is not None
    assert found.parent is None


async def test_who_no_longer_waits_is_left_out(database: Database, jobs: JobStore) -> None:
    gone = asyncio.create_task(jobs.add(a_request(prompt="gone"), an_origin()))
    stays = asyncio.create_task(jobs.add(a_request(prompt="stays"), an_origin()))
    await asyncio.sleep(0)
    gone.cancel()
    job = await stays
    assert [waiting.id for waiting in await jobs.waiting()] == [job.id]
    await jobs.close()


async def test_closing_waits_for_what_is_being_written(jobs: JobStore) -> None:
    task = asyncio.create_task(jobs.add(a_request(), an_origin()))
    await asyncio.sleep(0)
    await jobs.close()
    assert len(await jobs.waiting()) == 1
    assert (await task).request == a_request()
    await jobs.close()
