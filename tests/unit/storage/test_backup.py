"""A backup that is made beside a bot that works, and what comes of it again, here or elsewhere."""

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from generation.grids import Axis, GridPlan
from generation.preset import Preset
from storage import backup as backup_module
from storage.backup import MANIFEST, PICTURE, ROWS_OF, Manifest, back_up
from storage.database import Database, make_database, open_database, sqlite_url
from storage.drafts import Draft
from storage.errors import (
    DatabaseDamagedError,
    DatabaseError,
    PicturesAwayError,
    SchemaNewerError,
)
from storage.history import Query
from storage.picture_store import ObjectStoreError
from storage.pictures import PictureFiles
from storage.restore import Backup, BackupRefusedError, NotEmptyError, restore
from storage.schema import alembic_config
from storage.store import Store
from storage.table_dump import DumpDamagedError
from tests.databases import ON_SERVER, fresh_database
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_migrations import OLD_ROWS, VALUES, contents
from tests.unit.storage.test_personal_data import drawn

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def quiet(*_: object) -> None:
    pass


async def save(url: str, store: Store, file: Path, config: str | None = "[log]\n") -> Manifest:
    return await back_up(url, store.personal._files, config, file, NOW, quiet)


async def fill(store: Store) -> None:
    """Something in every table that people fill."""
    first = await drawn(store, png=b"first", prompt="a fox \U0001f98a 狐狸")
    second = await store.jobs.add(
        a_request(prompt="two"), an_origin(2), action="vary", parent=first.id, parent_picture=0
    )
    await store.jobs.claim(second.id)
    await store.jobs.add(a_request(prompt="waits"), an_origin(2))
    await store.history.set_favourite(1, first.id, 0, True)
    await store.jobs.add_message(70, 7, first.id, "result")
    await store.approvals.ask(first.id, 10)
    await store.settings.change_guild(10, spoiler=True, channel_presets={5: "foxes"})
    await store.settings.change_person(1, private=True)
    await store.settings.notice(1, "hello")
    await store.presets.ensure_starters(10, [Preset(name="foxes")])
    await store.own_presets.write(1, Preset(name="mine"))
    await store.drafts.keep(1, Draft(name="imagine", values={"prompt": "refused"}))
    plan = GridPlan(prompt="a fox", given={}, seed=7, axes=(Axis(name="steps", values=("1", "2")),))
    await store.grids.propose(1, plan)
    gone = await drawn(store, png=b"gone", prompt="gone")
    await store.personal.delete_job(gone.id)


@contextlib.asynccontextmanager
async def another(folder: Path, kind: str) -> AsyncIterator[str]:
    """An empty database of that kind."""
    folder.mkdir(exist_ok=True)
    if kind == "sqlite":
        yield sqlite_url(folder / "other.sqlite3")
        return
    async with fresh_database(folder, migrated=False) as url:
        yield url


KINDS = [
    pytest.param("sqlite", id="a file"),
    pytest.param("server", marks=pytest.mark.skipif(not ON_SERVER, reason="none")),
]


def rows(found: dict[str, Any]) -> dict[str, Any]:
    """Of what a database has, its rows by table, as every kind of database writes them."""
    return {
        name: [row.replace("True", "1").replace("False", "0") for row in table[2]]
        for name, table in found.items()
        if name != "sqlite_master" and not name.startswith(("jobs_search", "sqlite_"))
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_is_kept_comes_back(
    url: str, store: Store, tmp_path: Path, kind: str
) -> None:
    await fill(store)
    file = tmp_path / "backup.zip"
    made = await save(url, store, file)
    assert (made.missing, made.broken, made.pictures) == ((), (), 1)
    pictures = PictureFiles(tmp_path / "elsewhere")
    async with another(tmp_path / "other", kind) as other:
        with contextlib.closing(Backup(file)) as opened:
            assert opened.config() == b"[log]\n"
            restored = await restore(opened, other, pictures, quiet)
        assert (restored.lost, restored.changed, restored.pictures) == ((), 0, 1)
        assert rows(await contents(other)) == rows(await contents(url))
        database = await open_database(other, migrating=False)
        again = Store(database, pictures)
        (page,) = (await again.history.page(1, Query(search="狐狸"))).jobs
        assert await again.jobs.read_picture(page.pictures[0]) == b"first"
        assert [job.request.prompt for job in await again.jobs.waiting()] == ["waits"]
        # no number is given out twice, also that of a job that is gone
        later = await again.jobs.add(a_request(), an_origin(3))
        before = await store.jobs.add(a_request(), an_origin(3))
        assert later.id == before.id
        await database.dispose()


@pytest.mark.skipif(not ON_SERVER, reason="no server")
async def test_from_postgresql_to_sqlite_and_back(url: str, store: Store, tmp_path: Path) -> None:
    await fill(store)
    await save(url, store, tmp_path / "one.zip")
    between = sqlite_url(tmp_path / "between.sqlite3")
    with contextlib.closing(Backup(tmp_path / "one.zip")) as opened:
        await restore(opened, between, PictureFiles(tmp_path / "between"), quiet)
    files = PictureFiles(tmp_path / "between")
    await back_up(between, files, None, tmp_path / "two.zip", NOW, quiet)
    async with another(tmp_path / "last", "server") as last:
        with contextlib.closing(Backup(tmp_path / "two.zip")) as opened:
            await restore(opened, last, PictureFiles(tmp_path / "last"), quiet)
        assert await contents(last) == await contents(url)


@pytest.mark.slow
async def test_it_is_as_at_one_moment_while_others_write(
    url: str, store: Store, tmp_path: Path
) -> None:
    for number in range(30):
        await drawn(store, png=bytes([number]), prompt=f"{number}")
    asking = True

    async def ask() -> int:
        count = 0
        while asking:
            await drawn(store, png=f"new {count}".encode())
            count += 1
        return count

    others = asyncio.create_task(ask())
    for number in range(5):
        made = await save(url, store, tmp_path / f"{number}.zip")
        assert not made.missing
        tables = made.dumped.tables
        with zipfile.ZipFile(tmp_path / f"{number}.zip") as archive:
            jobs = [json.loads(line) for line in archive.read(ROWS_OF.format("jobs")).splitlines()]
            pictures = archive.read(ROWS_OF.format("pictures")).splitlines()
        at = tables["jobs"].columns.index("state")
        finished = [job for job in jobs if job[at] == "finished"]
        assert len(finished) <= len(pictures) <= len(finished) + 1
    asking = False
    assert await others > 0


async def test_there_is_no_backup_while_the_store_of_pictures_is_away(
    url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lack all pictures, and be taken for one that has what there is."""
    await drawn(store, png=b"there")

    async def away(*_: object) -> bytes:
        raise ObjectStoreError("no answer")

    monkeypatch.setattr(PictureFiles, "_read", away)
    with pytest.raises(PicturesAwayError, match="no answer"):
        await save(url, store, tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists()


@pytest.mark.slow
async def test_what_is_missing_or_broken_is_named_and_the_rest_kept(
    url: str, store: Store, tmp_path: Path
) -> None:
    for png in (b"whole", b"missing", b"broken"):
        await drawn(store, png=png)
    files = PictureFiles(tmp_path / "pictures")
    hashes = {png: hashlib.sha256(png).hexdigest() for png in (b"whole", b"missing", b"broken")}
    files.path(hashes[b"missing"]).unlink()
    files.path(hashes[b"broken"]).write_bytes(b"rotten")
    made = await save(url, store, tmp_path / "backup.zip")
    assert (made.missing, made.broken) == ((hashes[b"missing"],), (hashes[b"broken"],))
    # and one that rots in the backup itself
    data = (tmp_path / "backup.zip").read_bytes()
    (tmp_path / "backup.zip").write_bytes(data.replace(b"whole", b"whale"))
    with contextlib.closing(Backup(tmp_path / "backup.zip")) as opened:
        other = sqlite_url(tmp_path / "other.sqlite3")
        restored = await restore(opened, other, PictureFiles(tmp_path / "other"), quiet)
    assert set(restored.lost) == set(hashes.values())
    assert restored.pictures == 0
    assert len((await contents(other))["jobs"][2]) == 3


async def test_what_is_cut_off_leaves_no_half_file(
    url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store)
    folder = tmp_path / "backups"
    folder.mkdir()

    async def stop(*_: object) -> Manifest:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(backup_module, "_add_pictures", stop)
        with pytest.raises(asyncio.CancelledError):
            await save(url, store, folder / "backup.zip")
    assert list(folder.iterdir()) == []
    await save(url, store, folder / "backup.zip")
    with pytest.raises(FileExistsError):
        await save(url, store, folder / "backup.zip")
    assert [file.name for file in folder.iterdir()] == ["backup.zip"]


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.slow
async def test_a_restore_that_is_cut_off_leaves_the_database_empty(
    url: str, store: Store, tmp_path: Path
) -> None:
    await fill(store)
    await save(url, store, tmp_path / "backup.zip")

    def cut(what: str, *_: object) -> None:
        if what == "settings":
            raise Cut

    for kind in ("sqlite", "server") if ON_SERVER else ("sqlite",):
        async with another(tmp_path / kind, kind) as other:
            with contextlib.closing(Backup(tmp_path / "backup.zip")) as opened:
                pictures = PictureFiles(tmp_path / kind)
                with pytest.raises(Cut):
                    await restore(opened, other, pictures, cut)
                assert not (tmp_path / kind / "other.sqlite3").exists()
                await restore(opened, other, pictures, quiet)
                with pytest.raises(NotEmptyError):
                    await restore(opened, other, pictures, quiet)


@pytest.mark.slow
async def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    async with another(tmp_path / "old", "server" if ON_SERVER else "sqlite") as url:
        await asyncio.to_thread(command.upgrade, alembic_config(url), "0001")
        database = make_database(url)
        async with database.begin() as connection:
            for statement in OLD_ROWS:
                await connection.execute(text(statement), VALUES if ":" in statement else {})
        await database.dispose()
        files = PictureFiles(tmp_path / "pictures")
        made = await back_up(url, files, None, tmp_path / "old.zip", NOW, quiet)
    assert made.dumped.schema == "0001"
    other = sqlite_url(tmp_path / "new.sqlite3")
    with contextlib.closing(Backup(tmp_path / "old.zip")) as opened:
        await restore(opened, other, files, quiet)
    database = await open_database(other, migrating=False)
    (job,) = (await Store(database, files).history.page(1, Query(search="fox"))).jobs
    assert job.request.prompt == "A FOX"
    await database.dispose()


def changed(file: Path, change: Callable[[dict[str, bytes]], None], into: Path) -> Path:
    """A backup with other entries."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            kind = zipfile.ZIP_DEFLATED if name.endswith(".jsonl") else zipfile.ZIP_STORED
            archive.writestr(name, data, kind)
    return into


def with_manifest(entries: dict[str, bytes], **values: Any) -> None:
    raw = json.loads(entries[MANIFEST])
    raw.update(values)
    entries[MANIFEST] = json.dumps(raw).encode()


def with_rows(entries: dict[str, bytes], table: str, lines: bytes) -> None:
    """Other rows, with the hash that fits."""
    entries[ROWS_OF.format(table)] = lines
    raw = json.loads(entries[MANIFEST])
    raw["dumped"]["tables"][table]["sha256"] = hashlib.sha256(lines).hexdigest()
    raw["dumped"]["tables"][table]["rows"] = lines.count(b"\n")
    entries[MANIFEST] = json.dumps(raw).encode()


HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "out of the folder": lambda e: e.update({"pictures/../../evil": b"x"}),
    "absolute": lambda e: e.update({"/etc/evil": b"x"}),
    "of Windows": lambda e: e.update({"pictures\\..\\evil": b"x"}),
    "a bomb": lambda e: with_rows(e, "jobs", b"\0" * 50_000_000),
    "no manifest": lambda e: e.__delitem__(MANIFEST),
    "a manifest of something else": lambda e: e.update({MANIFEST: b"{}"}),
    "a newer format": lambda e: with_manifest(e, format=2),
    "a row changed": lambda e: e.update(
        {ROWS_OF.format("settings"): e[ROWS_OF.format("settings")].replace(b"true", b"false")}
    ),
    "rows changed": lambda e: e.update({ROWS_OF.format("settings"): b"[]\n"}),
    "rows missing": lambda e: e.__delitem__(ROWS_OF.format("settings")),
    "rows of another kind": lambda e: with_rows(e, "settings", b'["guild",1,{"a":1}]\n'),
    "rows too short": lambda e: with_rows(e, "settings", b"[1]\n"),
    "rows that are none": lambda e: with_rows(e, "settings", b"[[[[\n"),
    "a row cut off": lambda e: with_rows(e, "settings", b'["guild",1,"{}"]'),
    "a picture of no job": lambda e: with_rows(e, "favourites", b"[1,999,0,5]\n"),
    "another table": lambda e: _other_table(e),
}


def _other_table(entries: dict[str, bytes]) -> None:
    raw = json.loads(entries[MANIFEST])
    raw["dumped"]["tables"]["evil"] = raw["dumped"]["tables"]["settings"]
    entries[ROWS_OF.format("evil")] = entries[ROWS_OF.format("settings")]
    entries[MANIFEST] = json.dumps(raw).encode()


async def brought_back(file: Path, folder: Path) -> None:
    """Restore a backup into a database and pictures in a folder."""
    with contextlib.closing(Backup(file)) as opened:
        await restore(opened, sqlite_url(folder / "db.sqlite3"), PictureFiles(folder / "p"), quiet)


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
async def test_what_no_backup_has_is_refused(
    url: str, store: Store, tmp_path: Path, what: str
) -> None:
    await fill(store)
    await save(url, store, tmp_path / "good.zip")
    bad = changed(tmp_path / "good.zip", HOSTILE[what], tmp_path / "bad.zip")
    folder = tmp_path / "other"
    folder.mkdir()
    said = "beyond measure" if what == "a bomb" else None
    with pytest.raises((BackupRefusedError, DumpDamagedError), match=said):
        await brought_back(bad, folder)
    assert not (folder / "db.sqlite3").exists()
    assert not list(folder.glob(".*")), "half a database"


async def test_a_picture_that_is_another_does_not_come_back(
    url: str, store: Store, tmp_path: Path
) -> None:
    await drawn(store, png=b"mine")
    await save(url, store, tmp_path / "good.zip")
    name = PICTURE.format(hashlib.sha256(b"mine").hexdigest())
    bad = changed(tmp_path / "good.zip", lambda e: e.update({name: b"evil"}), tmp_path / "bad.zip")
    pictures = PictureFiles(tmp_path / "p")
    with contextlib.closing(Backup(bad)) as opened:
        restored = await restore(opened, sqlite_url(tmp_path / "db.sqlite3"), pictures, quiet)
    assert restored.pictures == 0
    assert restored.lost == (name.partition("/")[2],)


async def test_a_newer_schema_is_refused_with_a_sentence(
    url: str, store: Store, tmp_path: Path
) -> None:
    await save(url, store, tmp_path / "good.zip")

    def newer(entries: dict[str, bytes]) -> None:
        raw = json.loads(entries[MANIFEST])
        raw["dumped"]["schema"] = "9999"
        entries[MANIFEST] = json.dumps(raw).encode()

    bad = changed(tmp_path / "good.zip", newer, tmp_path / "bad.zip")
    with pytest.raises(SchemaNewerError, match="9999"):
        await brought_back(bad, tmp_path)


def test_what_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(BackupRefusedError):
        Backup(tmp_path / "x.zip")


@pytest.mark.sqlite
async def test_bytes_that_are_no_text_come_back(
    url: str, store: Store, database: Database, tmp_path: Path
) -> None:
    await store.settings.change_guild(10, spoiler=True)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE settings SET \"values\" = CAST(x'ff7b' AS TEXT)"))
    await save(url, store, tmp_path / "backup.zip")
    with contextlib.closing(Backup(tmp_path / "backup.zip")) as opened:
        other = tmp_path / "other.sqlite3"
        await restore(opened, sqlite_url(other), PictureFiles(tmp_path / "p"), quiet)
    with contextlib.closing(sqlite3.connect(other)) as found:
        query = 'SELECT CAST("values" AS BLOB) FROM settings'
        assert found.execute(query).fetchall() == [(b"\xff{",)]


@pytest.mark.sqlite
async def test_a_damaged_database_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "db.sqlite3"
    file.write_bytes(b"no database at all, but long enough to be one" * 100)
    files = PictureFiles(tmp_path / "p")
    with pytest.raises(DatabaseDamagedError):
        await back_up(sqlite_url(file), files, None, tmp_path / "x.zip", NOW, quiet)
    gone = sqlite_url(tmp_path / "none.sqlite3")
    with pytest.raises(DatabaseError, match="no such file"):
        await back_up(gone, files, None, tmp_path / "x.zip", NOW, quiet)
    assert not (tmp_path / "x.zip").exists()
