"""Rows that can't be decoded: each is in its own way only."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from generation.job import Failure, Job, JobState
from storage.database import Database
from storage.history import Query
from storage.jobs import JobStore
from storage.store import Store
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture

BROKEN: dict[str, str] = {
    "request is no JSON": "request = '{'",
    "request is empty": "request = ''",
    "request is a list": "request = '[]'",
    "request nests too deeply": f"request = '{'[' * 100_000}'",
    "request is out of bounds": "request = replace(request, '\"steps\":4', '\"steps\":-4')",
    "request has a field of a later version": "request = '{\"future\":1}'",
    "origin is no JSON": "origin = 'x'",
    "origin lacks the person": "origin = '{}'",
    "time is far outside the calendar": f"created_at = {2**62}",
}
ONLY_SQLITE = {
    "request is a number": "request = 7",
    "request is bytes": "request = x'ff00'",
    "request is text that is no UTF-8": "request = CAST(x'ff7b7d' AS TEXT)",
    "origin is text that is no UTF-8": "origin = CAST(x'ff7b7d' AS TEXT)",
    "action is text that is no UTF-8": "action = CAST(x'ff7b7d' AS TEXT)",
    "action is bytes": "action = x'ff'",
    "parent is text": "parent_id = NULL, parent_picture = 'x'",
    "time is text": "created_at = 'yesterday'",
}
ALL = BROKEN if ON_SERVER else BROKEN | ONLY_SQLITE


async def damage(database: Database, job: Job, change: str) -> None:
    async with database.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE jobs SET {change} WHERE id = {job.id}")


async def drawn(store: Store, **request: Any) -> Job:
    job = await store.jobs.add(a_request(**request), an_origin())
    await store.jobs.claim(job.id)
    await store.jobs.add_picture(job.id, a_picture(), b"png")
    return await store.jobs.finish(job.id, MAKING)


async def state_of(database: Database, job: Job) -> str:
    async with database.connect() as connection:
        statement = text(f"SELECT state FROM jobs WHERE id = {job.id}")
        return str((await connection.execute(statement)).scalar_one())


async def test_those_that_wait_fail_and_the_others_are_drawn(
    database: Database, jobs: JobStore
) -> None:
    whole = []
    for kind, broken in ALL.items():
        damaged = await jobs.add(a_request(), an_origin())
        claimed = await jobs.add(a_request(), an_origin())
        whole.append((await jobs.add(a_request(), an_origin())).id)
        await damage(database, damaged, broken)
        assert [job.id for job in await jobs.waiting()][-2:] == [claimed.id, whole[-1]], kind
        assert await state_of(database, damaged) == "failed", kind
        await damage(database, claimed, broken)
        assert await jobs.claim(claimed.id) is None, kind
        assert await state_of(database, claimed) == "failed", kind
    assert [job.id for job in await jobs.waiting()] == whole
    assert await jobs.count_waiting(1) == len(whole)
    assert await jobs.claim(whole[0]) is not None


async def test_those_that_ran_fail_at_the_next_start(database: Database, jobs: JobStore) -> None:
    damaged: list[Job] = []
    whole: list[Job] = []
    for broken in ALL.values():
        for jobs_of_a_kind in (damaged, whole):
            jobs_of_a_kind.append(await jobs.add(a_request(), an_origin()))
            await jobs.claim(jobs_of_a_kind[-1].id)
        await damage(database, damaged[-1], broken)
    assert [job.id for job in await jobs.recover()] == [job.id for job in whole]
    assert {await state_of(database, job) for job in damaged} == {"failed"}


async def test_those_in_a_history_are_left_out(
    database: Database, store: Store, tmp_path: Path
) -> None:
    whole = []
    for kind, broken in ALL.items():
        whole.append((await drawn(store, prompt="a fox")).id)
        damaged = await drawn(store, prompt="a fox")
        await damage(database, damaged, broken)
        for query in (Query(), Query(search="fox"), Query(model="demo")):
            page = await store.history.page(1, query, limit=100)
            assert [job.id for job in page.jobs] == whole[::-1], kind
        assert await store.jobs.get(damaged.id) is None, kind
        assert [job.id for _, job in await store.history.tree(damaged.id)] == [], kind
        await store.jobs.add_message(damaged.id, 6, damaged.id, "result")
        assert await store.jobs.shown_by(damaged.id) is None, kind
    assert len(await store.jobs.measurements()) == len(whole)
    ago = datetime.now(UTC) - timedelta(hours=1)
    assert (await store.statistics.since(ago)).total == {JobState.FINISHED: 2 * len(whole)}
    parts = [part async for part in store.personal.export(1, tmp_path, max_bytes=1_000_000)]
    assert len(parts) == 1
    assert (await store.personal.delete(1)).jobs == 2 * len(whole)


async def test_whoever_can_be_told_is(database: Database, jobs: JobStore) -> None:
    request, origin, whole = [
        await jobs.add(a_request(prompt="A Fox"), an_origin(n)) for n in range(1, 4)
    ]
    await damage(database, request, "request = '{'")
    await damage(database, origin, "origin = '{'")
    await jobs.cancel_waiting(whole.id)
    await jobs.waiting()
    told, other = await jobs.undelivered()
    assert (told.id, told.origin.user_id, told.state) == (request.id, 1, JobState.FAILED)
    assert told.failure == Failure("record_unreadable")
    assert told.request.prompt == "a fox"
    assert other.id == whole.id
    # where nobody can be told, it is not tried again at every start
    async with database.connect() as connection:
        statement = text(f"SELECT delivered_at FROM jobs WHERE id = {origin.id}")
        assert (await connection.execute(statement)).scalar_one() is not None


async def test_a_finished_one_whose_request_is_lost_is_told_as_failed(
    database: Database, store: Store
) -> None:
    job = await drawn(store)
    await damage(database, job, "request = '{'")
    (told,) = await store.jobs.undelivered()
    assert (told.state, told.failure) == (JobState.FAILED, Failure("record_unreadable"))


async def test_what_a_job_can_do_without_is_left_out(database: Database, store: Store) -> None:
    job, failed = await drawn(store), await store.jobs.add(a_request(), an_origin())
    await store.jobs.fail(failed.id, Failure("internal_error"))
    await damage(database, job, "provenance = '{'")
    await damage(database, failed, "failure = '{'")
    found, other = await store.jobs.get(job.id), await store.jobs.get(failed.id)
    assert found is not None
    assert other is not None
    assert (found.provenance, other.failure) == (None, Failure("record_unreadable"))
    assert await store.jobs.measurements() == []


@pytest.mark.sqlite
async def test_a_picture_that_can_not_be_read_is_left_out(database: Database, store: Store) -> None:
    job = await store.jobs.add(a_request(count=2), an_origin())
    await store.jobs.claim(job.id)
    for index in range(2):
        await store.jobs.add_picture(job.id, a_picture(index), b"png")
    async with database.begin() as connection:
        await connection.execute(text("UPDATE pictures SET width = 'wide' WHERE position = 0"))
    found = await store.jobs.get(job.id)
    assert found is not None
    assert [picture.index for picture in found.pictures] == [1]


async def test_a_search_that_can_not_be_read_is_gone(database: Database, store: Store) -> None:
    number = await store.history.keep_query(1, Query(search="fox"))
    async with database.begin() as connection:
        await connection.execute(text("UPDATE history_queries SET query = '{'"))
    assert await store.history.query(number, 1) is None
