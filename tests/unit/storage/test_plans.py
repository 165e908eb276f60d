"""What the bot asks all day goes through indexes: with a million rows a scan takes too long."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from generation.job import PresetUse
from storage.history import Query
from storage.intake import AskingLimits
from storage.store import Store
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture

pytestmark = pytest.mark.sqlite
TABLES = ("jobs", "pictures", "messages", "uploads", "favourites", "handed_in", "spent")


@pytest.fixture
def asked() -> Iterator[list[tuple[str, Any]]]:
    """Every statement and its values."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, statement: str, values: Any, _x: object, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")) and not many:
            seen.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def plans(file: Path, asked: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each statement with each step of how SQLite answers it."""
    connection = sqlite3.connect(file)
    for statement, values in asked:
        for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values):
            yield statement, row[3]
    connection.close()


async def test_no_table_is_gone_through(
    store: Store, tmp_path: Path, asked: list[tuple[str, Any]]
) -> None:
    jobs, history = store.jobs, store.history
    day_ago = datetime.now(UTC) - timedelta(days=1)
    limits = AskingLimits(waiting=5, pictures=50)
    file = await jobs.keep_upload(b"handed in")
    request = a_request(init_picture=file)
    job = await jobs.add(request, an_origin(), asked_by="i:1", limits=limits)
    await jobs.add(request, an_origin(), parent=job.id, preset=PresetUse("night", 3), limits=limits)
    await jobs.waiting_ids()
    await jobs.waiting([job.id])
    await jobs.claim(job.id)
    await jobs.begin(job.id)
    await jobs.add_picture(job.id, a_picture(), b"png")
    await jobs.finish(job.id, MAKING)
    await jobs.undelivered()
    await jobs.mark_delivered(job.id)
    await jobs.add_message(7, 8, job.id, "result")
    await jobs.shown_by(7)
    await jobs.messages_of(job.id, "result")
    await jobs.count_waiting(1)
    await jobs.measurements()
    await store.usage.count_since(1, 10, day_ago)
    await store.usage.pictures_since(1, 10, day_ago)
    await history.set_favourite(1, job.id, 0, True)
    for query in (
        Query(),
        Query(search="lighthouse dusk"),
        Query(search="at"),
        Query(model="demo"),
        Query(preset="night"),
        Query(preset="night", preset_id=3, preset_own=False),
        Query(favourites=True),
        Query(favourites=True, search="lighthouse"),
    ):
        for place in ({}, {"before": 5}, {"after": 0}):
            await history.page(1, query, **place)
    await history.models(1)
    await history.tree(job.id)
    await history.keep_query(1, Query(search="fox"))
    await jobs.recover()
    await store.personal.sweep(timedelta(seconds=-1))
    await jobs.cancel_waiting(2)
    _ = [part async for part in store.personal.export(1, tmp_path, max_bytes=100_000)]
    await store.personal.delete(1)
    scans = {
        (step, statement)
        for statement, step in plans(tmp_path / "test.sqlite3", asked)
        if any(step == f"SCAN {table}" or step.startswith(f"SCAN {table} ") for table in TABLES)
    }
    # what is kept of deletions for a day is little
    assert {step for step, statement in scans if "FROM spent" not in statement} == set()
    assert len(asked) > 60


async def test_what_happened_lately_is_counted_by_its_time(
    store: Store, tmp_path: Path, asked: list[tuple[str, Any]]
) -> None:
    await store.statistics.since(datetime.now(UTC))
    steps = [
        step
        for statement, step in plans(tmp_path / "test.sqlite3", asked)
        if "created_at > " in statement
    ]
    assert steps[0].startswith("SEARCH jobs USING COVERING INDEX jobs_by_time")
