"""All that is kept, in one zip file: rows, pictures and the settings' text. It is made while a bot
works with them.
"""

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

import msgspec

from storage import table_dump
from storage.database import BUSY_SECONDS, Database, make_database, sqlite_file, sqlite_url
from storage.errors import DatabaseDamagedError, DatabaseUnreachableError
from storage.picture_store import PictureBrokenError, PictureMissingError, PictureStore
from storage.table_dump import Dumped

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.toml"
ROWS_OF: Final = "database/{}.jsonl"
PICTURE: Final = "pictures/{}"
AT_ONCE: Final = 16
"""Pictures that are read at the same time: a store over the network takes as long for each."""

Progressed = Callable[[str, int, int | None], None]
"""What is under way, how far, and how far it goes where that is known."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup has. `missing` and `broken` are hashes of pictures that it lacks: they were not
    there, or not what had been written.
    """

    format: int
    darkroom: str
    made_at: datetime
    dumped: Dumped
    pictures: int
    picture_bytes: int
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


async def back_up(
    url: str, files: PictureStore, config: str | None, into: Path, now: datetime, said: Progressed
) -> Manifest:
    """Write a backup to `into`, where nothing may be; it bears that name once it is whole.

    Raises OSError, and DatabaseError where the rows can't be read: then there is none.
    """
    folder = await asyncio.to_thread(
        tempfile.TemporaryDirectory, dir=into.parent, prefix=f".{into.name}-"
    )
    with folder as name:
        part = Path(name) / "part"
        async with _snapshot(url, Path(name)) as database:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                opened = _Entries(archive)
                dumped, named = await database.read(
                    lambda connection: table_dump.dump(
                        connection, opened.rows_of, lambda table, rows: said(table, rows, None)
                    )
                )
                if not dumped.schema:
                    raise DatabaseUnreachableError("there is nothing in it yet")
                if config is not None:
                    archive.writestr(CONFIG, config)
                manifest = await _add_pictures(archive, files, sorted(named), dumped, now, said)
                text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
                archive.writestr(MANIFEST, text, zipfile.ZIP_DEFLATED)
        await asyncio.to_thread(_keep, part, into)
    return manifest


class _Entries:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def rows_of(self, table: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(ROWS_OF.format(table))
        entry.compress_type = zipfile.ZIP_DEFLATED
        return self._archive.open(entry, "w", force_zip64=True)


async def _add_pictures(
    archive: zipfile.ZipFile,
    files: PictureStore,
    named: Sequence[str],
    dumped: Dumped,
    now: datetime,
    said: Progressed,
) -> Manifest:
    missing, broken = [], []
    count = size = 0
    for start in range(0, len(named), AT_ONCE):
        some = named[start : start + AT_ONCE]
        found = await asyncio.gather(*map(files.read, some), return_exceptions=True)
        for sha256, data in zip(some, found, strict=True):
            match data:
                case bytes():
                    await asyncio.to_thread(archive.writestr, PICTURE.format(sha256), data)
                    count, size = count + 1, size + len(data)
                case PictureBrokenError():
                    broken.append(sha256)
                case PictureMissingError():
                    missing.append(sha256)
                case _:
                    raise data
        said("pictures", start + len(some), len(named))
    return Manifest(
        format=FORMAT,
        darkroom=version("darkroom"),
        made_at=now,
        dumped=dumped,
        pictures=count,
        picture_bytes=size,
        missing=tuple(missing),
        broken=tuple(broken),
    )


@contextlib.asynccontextmanager
async def _snapshot(url: str, folder: Path) -> AsyncIterator[Database]:
    """A database as it is now, which nobody changes while it is read. Raises DatabaseError."""
    file = sqlite_file(url)
    if file is not None:
        copy = folder / "copy.sqlite3"
        await asyncio.to_thread(_copy, file, copy)
        url = sqlite_url(copy)
    database = make_database(url, "read")
    try:
        yield database
    finally:
        await database.dispose()


def _copy(file: Path, into: Path) -> None:
    """A SQLite database, by its own means: whoever writes to it goes on. Raises DatabaseError."""
    if not file.is_file():
        raise DatabaseUnreachableError("there is no such file")
    uri = f"{file.absolute().as_uri()}?mode=rw"
    try:
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as source,
            contextlib.closing(sqlite3.connect(into)) as copy,
        ):
            source.backup(copy)
            answer = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise DatabaseDamagedError(str(error)) from error
    if answer != "ok":
        raise DatabaseDamagedError(str(answer).splitlines()[-1])


def _keep(part: Path, into: Path) -> None:
    """Give what is whole its name, for good. Raises FileExistsError."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    if os.path.lexists(into):
        raise FileExistsError(into)
    part.replace(into)
