"""What drivers raise comes out as storage's own errors, which callers can tell apart."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from generation.refusal import Refused
from storage import database as database_module
from storage.database import Database, make_database, open_database, sqlite_url
from storage.errors import (
    DatabaseBusyError,
    DatabaseDamagedError,
    DatabaseFullError,
    DatabaseUnreachableError,
    DatabaseUnsupportedError,
)
from storage.jobs import JobStore
from storage.store import Store
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin


@pytest.mark.sqlite
async def test_a_lock_of_another_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    file = tmp_path / "busy.sqlite3"
    database = await open_database(sqlite_url(file))
    store = Store(database, None)  # type: ignore[arg-type]
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusyError, match="locked"):
        await store.settings.change_guild(5, quota=3)
    # reading is nobody's matter
    assert (await store.settings.guild(5)).quota is None
    waiting = asyncio.create_task(store.settings.change_guild(5, quota=4))
    await asyncio.sleep(0.05)
    other.execute("ROLLBACK")
    # the same call works once the other is done
    assert (await waiting).quota == 4
    other.close()
    await database.dispose()


@pytest.mark.sqlite
async def test_a_full_disk_is_told_and_leaves_what_was(tmp_path: Path) -> None:
    database = await open_database(sqlite_url(tmp_path / "full.sqlite3"))

    async def fill() -> None:
        async with database.begin() as connection:
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for key in range(500):
                await connection.execute(
                    text(
                        "INSERT INTO presets (scope, owner_id, key, preset, created_at)"
                        " VALUES ('guild', 1, :key, :filler, 0)"
                    ),
                    {"key": str(key), "filler": "x" * 2000},
                )

    with pytest.raises(DatabaseFullError):
        await fill()
    async with database.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM presets"))).scalar_one() == 0
    await database.dispose()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"no database" * 100, DatabaseDamagedError), (None, DatabaseUnreachableError)],
)
async def test_what_is_no_database(
    tmp_path: Path, content: bytes | None, kind: type[Exception]
) -> None:
    file = tmp_path / "wrong.sqlite3"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(kind):
        await open_database(sqlite_url(file))


@pytest.mark.parametrize(
    "url",
    ["no url", "mysql+aiomysql://x/y", "sqlite+nothing:///x", "postgresql+psycopg2://a:secret@h/d"],
)
def test_what_can_not_be_used(url: str) -> None:
    with pytest.raises(DatabaseUnsupportedError) as raised:
        make_database(url)
    assert "secret" not in str(raised.value)


async def test_a_server_that_does_not_answer() -> None:
    pytest.importorskip("asyncpg")
    with pytest.raises(DatabaseUnreachableError):
        await open_database("postgresql://ada@127.0.0.1:1/d")


@pytest.mark.parametrize("prompt", ["half \ud83d an emoji", "a byte \udcff"])
async def test_half_a_character_is_refused(jobs: JobStore, prompt: str) -> None:
    with pytest.raises(Refused, match="text_unusable"):
        await jobs.add(a_request(prompt=prompt), an_origin())
    assert await jobs.waiting() == []


async def test_a_zero_byte_is_refused_where_it_can_not_be_kept(
    jobs: JobStore, database: AsyncEngine
) -> None:
    if ON_SERVER:
        with pytest.raises(Refused, match="text_unusable"):
            await jobs.add(a_request(prompt="a\0b"), an_origin())
    assert isinstance(database, Database)
    assert await jobs.waiting() == []


async def test_others_errors_stay_what_they_are(database: AsyncEngine) -> None:
    with pytest.raises(Exception, match="no_such_table"):
        async with database.connect() as connection:
            await connection.execute(text("SELECT * FROM no_such_table"))
