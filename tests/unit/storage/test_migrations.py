"""The migrations lead to the tables that the code declares, whole or not at all."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event, inspect, text

from generation.job import PresetUse
from generation.preset import Preset
from storage.database import make_database, migrate, open_database, open_read_only
from storage.errors import SchemaNewerError, SchemaOlderError
from storage.history import Query
from storage.pictures import PictureFiles
from storage.schema import alembic_config
from storage.store import Store
from tests.databases import ON_SERVER, fresh_database

REQUEST = json.dumps(
    {
        "prompt": "A FOX",
        "model": "old",
        "width": 64,
        "height": 64,
        "steps": 1,
        "guidance_scale": 1.0,
        "sampler": "Euler",
        "seed": 1,
    }
)
VALUES = {"request": REQUEST, "origin": '{"user_id":1,"user_name":"ada"}'}
OLD_ROWS = (
    "INSERT INTO jobs (state, request, origin, action, user_id, attempts, created_at)"
    " VALUES ('finished', :request, :origin, 'imagine', 1, 1, 0)",
    "INSERT INTO pictures (job_id, position, seed, width, height, file, pixels_sha256)"
    " VALUES (1, 0, 1, 64, 64, 'ab', 'cd')",
    "INSERT INTO messages (message_id, channel_id, job_id, kind, created_at)"
    " VALUES (70, 700, 1, 'result', 0)",
)


class CutError(Exception):
    """The power went out."""


def revisions() -> list[str]:
    """All of them, oldest first."""
    found = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [script.revision for script in found][::-1]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """An empty database."""
    async with fresh_database(tmp_path, migrated=False) as url:
        yield url


@pytest.fixture
async def old(url: str) -> str:
    """A database of the first version, with a job, a picture and a message in it."""
    await asyncio.to_thread(command.upgrade, alembic_config(url), "0001")
    database = make_database(url)
    async with database.begin() as connection:
        for statement in OLD_ROWS:
            await connection.execute(text(statement), VALUES if ":" in statement else {})
    await database.dispose()
    return url


async def contents(url: str) -> dict[str, Any]:
    """Every table's columns, indexes and rows, and whatever else a SQLite schema has."""
    database = make_database(url, "read")
    async with database.connect() as connection:
        found = await connection.run_sync(_contents)
    await database.dispose()
    return found


def _contents(connection: Connection) -> dict[str, Any]:
    looked = inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(looked.get_table_names()):
        columns = [(column["name"], str(column["type"])) for column in looked.get_columns(table)]
        indexes = sorted(str(index["name"]) for index in looked.get_indexes(table))
        rows = sorted(map(str, connection.execute(text(f"SELECT * FROM {table}")).all()))
        found[table] = (columns, indexes, rows)
    if connection.dialect.name == "sqlite":
        schema = connection.execute(text("SELECT name, sql FROM sqlite_master ORDER BY name"))
        found["sqlite_master"] = [tuple(row) for row in schema]
    return found


@contextmanager
def watching(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the number of each statement before it is executed."""
    number = 0

    def before(*_: Any) -> None:
        nonlocal number
        number += 1
        act(number)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)


async def is_usable(url: str) -> None:
    """The migration works after all, and what was there can be found."""
    database = await open_database(url)
    store = Store(database, PictureFiles(Path("unused")))
    page = await store.history.page(1, Query(search="fox", model="old"))
    assert [(job.id, len(job.pictures)) for job in page.jobs] == [(1, 1)]
    assert page.jobs[0].pictures[0].unsafe is None
    assert await store.jobs.shown_by(70) is not None
    await database.dispose()
    await asyncio.to_thread(command.check, alembic_config(url))


async def test_they_lead_to_the_declared_tables(url: str) -> None:
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(command.check, alembic_config(url))


async def test_what_is_there_is_kept(old: str) -> None:
    await is_usable(old)


async def test_jobs_know_the_presets_of_their_names(url: str) -> None:
    await asyncio.to_thread(command.upgrade, alembic_config(url), "0007")
    database = make_database(url)
    job = (
        "INSERT INTO jobs (state, request, origin, action, user_id, guild_id, preset, attempts,"
        " created_at) VALUES ('queued', :request, :origin, 'imagine', 1, :guild, :preset, 0, 0)"
    )
    async with database.begin() as connection:
        for statement in (
            """INSERT INTO presets VALUES (5, 'straße', '{"name":"Straße","steps":3}', 0)""",
            """INSERT INTO presets VALUES (6, 'ink', '{"name":"ink"}', 0)""",
            """INSERT INTO own_presets VALUES (1, 'ink', '{"name":"Ink","steps":4}', 0)""",
        ):
            await connection.exec_driver_sql(statement.replace("straße", "straße".casefold()))
        for guild, preset in ((5, "STRAßE"), (5, "ink"), (6, "ink"), (None, None)):
            await connection.execute(text(job), {**VALUES, "guild": guild, "preset": preset})
    await database.dispose()
    database = await open_database(url)
    store = Store(database, PictureFiles(Path("unused")))
    street, ink = await store.presets.kept(5, "straße"), await store.presets.kept(6, "INK")
    assert street.preset == Preset(name="Straße", steps=3)
    assert await store.own_presets.all_of(1) == [Preset(name="Ink", steps=4)]
    uses = [job.preset for job in sorted(await store.jobs.waiting(), key=lambda job: job.id)]
    gone = PresetUse("ink")
    assert uses == [PresetUse("STRAßE", street.id), gone, PresetUse("ink", ink.id), None]
    await database.dispose()
    await asyncio.to_thread(command.check, alembic_config(url))


async def cut_at_each_statement(url: str, step: int = 1) -> int:
    """Migrate again and again, each time cut a little later; returns how often."""
    before = await contents(url)
    for tries in itertools.count():

        def cut(number: int, at: int = 1 + tries * step) -> None:
            if number == at:
                raise CutError

        try:
            with watching(cut):
                await asyncio.to_thread(migrate, url)
        except CutError:
            assert await contents(url) == before, tries
        else:
            return tries
    raise AssertionError


@pytest.mark.slow
async def test_cut_at_any_statement_they_leave_the_old_schema(old: str) -> None:
    assert await cut_at_each_statement(old, step=15 if ON_SERVER else 1) > 3
    await is_usable(old)


async def test_the_first_cut_anywhere_leaves_nothing(url: str) -> None:
    assert await cut_at_each_statement(url, step=40 if ON_SERVER else 7) >= 2
    await asyncio.to_thread(command.check, alembic_config(url))


DIES = """
import os, sys
from sqlalchemy import Engine, event
from storage.database import migrate

left = int(sys.argv[2])

def before(*_):
    global left
    left -= 1
    if not left:
        os._exit(9)

event.listen(Engine, "before_cursor_execute", before)
migrate(sys.argv[1])
"""


@pytest.mark.parametrize("at", [10, 18])
async def test_a_process_that_dies_in_the_middle_leaves_the_old_schema(old: str, at: int) -> None:
    before = await contents(old)
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", DIES, old, str(at)], check=False, env=os.environ
    )
    assert ended.returncode == 9
    assert await contents(old) == before
    await is_usable(old)


async def test_two_at_once_migrate_once(old: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate, old) for _ in range(3)))
    await is_usable(old)


async def test_without_the_right_to_migrate_it_is_said_that_one_is_due(old: str) -> None:
    before = await contents(old)
    for opened in (open_database(old, migrating=False), open_read_only(old)):
        with pytest.raises(SchemaOlderError, match="0001"):
            await opened
    assert await contents(old) == before


async def test_a_newer_schema_is_left_alone(url: str) -> None:
    await asyncio.to_thread(migrate, url)
    database = make_database(url)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.dispose()
    before = await contents(url)
    for opened in (open_database(url), open_database(url, migrating=False), open_read_only(url)):
        with pytest.raises(SchemaNewerError, match="9999"):
            await opened
    assert await contents(url) == before


@pytest.mark.parametrize("to", ["base", "-1", "0001"])
async def test_there_is_no_way_back(url: str, to: str) -> None:
    await asyncio.to_thread(migrate, url)
    before = await contents(url)
    with pytest.raises(CommandError, match="Restore the copy"):
        await asyncio.to_thread(command.downgrade, alembic_config(url), to)
    assert await contents(url) == before


async def test_they_say_nothing(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing on the console, and logging is as it was."""
    import logging

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    await asyncio.to_thread(migrate, url)
    assert (list(root.handlers), root.level) == (handlers, level)
    assert capfd.readouterr() == ("", "")


def test_every_migration_has_its_place() -> None:
    assert revisions() == [f"{number:04}" for number in range(1, len(revisions()) + 1)]
