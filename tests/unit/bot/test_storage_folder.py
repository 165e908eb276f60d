"""A start that can't keep anything says so in one sentence that names the path."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from bot.cli.doctor.storage import check_database, check_disk
from bot.config import Config, StorageSettings
from bot.storage_folder import InUseError, StartError, open_store, owning
from storage.database import sqlite_url
from storage.schema import alembic_config

DATABASE = "darkroom.sqlite3"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(file=tmp_path / "config.toml", storage=StorageSettings(folder=tmp_path / "data"))


async def start(config: Config) -> None:
    """As the bot does."""
    with owning(config):
        async with open_store(config) as store:
            assert await store.jobs.waiting() == []


def old_database(config: Config) -> None:
    """One that the next start would migrate."""
    config.storage.folder.mkdir()
    command.upgrade(alembic_config(sqlite_url(config.storage.folder / DATABASE)), "0001")


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


async def findings(config: Config) -> str:
    found = [
        str(finding) for check in (check_database, check_disk) async for finding in check(config)
    ]
    return "\n".join(found)


# what stands in the way

IN_THE_WAY: dict[str, Callable[[Path], Any]] = {
    ".": lambda path: path.write_text("no folder"),
    "in-use.lock": Path.mkdir,
    "pictures": lambda path: path.write_text("no folder"),
    "cache": lambda path: path.write_text("no folder"),
    DATABASE: Path.mkdir,
    f"{DATABASE}-wal": Path.mkdir,
}


@pytest.mark.parametrize("name", IN_THE_WAY)
async def test_what_stands_in_the_way_is_named(config: Config, name: str) -> None:
    path = config.storage.folder / name
    if name != ".":
        config.storage.folder.mkdir()
    IN_THE_WAY[name](path)
    with pytest.raises(StartError) as raised:
        await start(config)
    sentence = str(raised.value)
    assert str(path).removesuffix("-wal") in sentence
    assert "[storage]" in sentence
    assert "\n" not in sentence
    assert "FAIL" in await findings(config) or name in ("in-use.lock", f"{DATABASE}-wal")


async def test_a_folder_below_a_file_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    below = Config(
        file=config.file, storage=StorageSettings(folder=tmp_path / "data" / "deep" / "er")
    )
    with pytest.raises(StartError, match="deep"):
        await start(below)
    assert "FAIL  disk" in await findings(below)


# rights, which hold for everybody but the superuser

PROJECT = Path(__file__).parents[3]

AS_SOMEBODY = """
import asyncio, concurrent.futures.thread, os, sys, tempfile
from pathlib import Path
import aiosqlite, sqlalchemy.dialects.sqlite.aiosqlite, alembic.command, alembic.autogenerate
import storage.search, storage.tables
from bot.config import Config, StorageSettings
from bot.storage_folder import StartError, open_store, owning

async def start(config):
    with owning(config):
        async with open_store(config):
            pass

config = Config(file=Path("config.toml"), storage=StorageSettings(folder=Path(sys.argv[1])))
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    asyncio.run(start(config))
except StartError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("name", [".", "in-use.lock", "pictures", "cache", DATABASE])
async def test_what_may_not_be_written_is_named(name: str) -> None:
    above = [PROJECT, *PROJECT.parents]
    if os.geteuid() == 0 and not all(folder.stat().st_mode & stat.S_IXOTH for folder in above):
        pytest.skip("the superuser alone may read the project, and may write everything")
    # pytest's own folder is for its user alone
    with tempfile.TemporaryDirectory(prefix="darkroom-") as open_to_all:
        folder = Path(open_to_all) / "data"
        await start(Config(file=Path("config.toml"), storage=StorageSettings(folder=folder)))
        for path in (folder.parent, folder, *folder.rglob("*")):
            path.chmod(0o777)
        (folder / name).chmod(0o555 if (folder / name).is_dir() else 0o444)
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", AS_SOMEBODY, str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / name).chmod(0o777)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout.startswith((str(folder / name), f"The database {folder / name}"))
    assert "Let the user that Darkroom runs as write there" in ended.stdout
    assert "Traceback" not in ended.stderr


async def test_a_full_disk_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(StartError, match="Free some room") as raised:
        await start(config)
    assert str(config.storage.folder) in str(raised.value)


# who may migrate


async def test_the_second_of_two_starts_never_migrates(config: Config) -> None:
    await asyncio.to_thread(old_database, config)
    with owning(config):
        before = everything(config.storage.folder)
        with pytest.raises(InUseError, match="Another Darkroom"):
            await start(config)
        assert everything(config.storage.folder) == before
    await start(config)


async def test_beside_another_process_nothing_is_migrated(config: Config) -> None:
    await asyncio.to_thread(old_database, config)
    file = config.storage.folder / DATABASE
    before = file.read_bytes()
    with owning(config), pytest.raises(StartError, match=r"0001.*Stop the Darkroom that runs"):
        async with open_store(config, migrating=False):
            pass
    assert file.read_bytes() == before


async def test_doctor_changes_nothing(config: Config) -> None:
    before = everything(config.file.parent)
    assert "which the first start makes" in await findings(config)
    assert everything(config.file.parent) == before
    await asyncio.to_thread(old_database, config)
    before = everything(config.storage.folder)
    assert "the next start brings it up to date" in await findings(config)
    assert everything(config.storage.folder) == before
    await start(config)
    before = everything(config.storage.folder)
    assert "ok    database" in await findings(config)
    assert "0 jobs waiting" in await findings(config)
    assert everything(config.storage.folder) == before


async def test_doctor_looks_beside_a_bot_that_runs(config: Config) -> None:
    with owning(config):
        async with open_store(config):
            found = await findings(config)
    assert "0 jobs waiting" in found
    assert "is in use by a bot that runs" in found


async def test_doctor_finds_a_damaged_database(config: Config) -> None:
    await start(config)
    file = config.storage.folder / DATABASE
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    assert "FAIL  database" in await findings(config)


async def test_a_password_is_not_shown(config: Config) -> None:
    there = Config(
        file=config.file,
        storage=StorageSettings(
            folder=config.storage.folder, database="postgresql+asyncpg://ada:secret@127.0.0.1:1/d"
        ),
    )
    with pytest.raises(StartError, match="Look whether its server runs") as raised:
        await start(there)
    assert "secret" not in str(raised.value)
    assert "secret" not in await findings(there)
