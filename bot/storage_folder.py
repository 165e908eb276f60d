"""The folder of everything that is kept: held by one process, looked at before it is worked in."""

import asyncio
import contextlib
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from bot.config import Config
from storage.clock import Now, machine_time
from storage.database import (
    check_whole,
    open_database,
    open_read_only,
    shown_url,
    sqlite_file,
    sqlite_url,
)
from storage.errors import (
    DatabaseBusyError,
    DatabaseDamagedError,
    DatabaseError,
    DatabaseFullError,
    DatabaseUnsupportedError,
    SchemaNewerError,
    SchemaOlderError,
)
from storage.picture_objects import PictureObjects
from storage.picture_store import PictureStore
from storage.pictures import PictureFiles
from storage.settings import ElsewhereSettings
from storage.store import Store

LOCK: Final = "in-use.lock"
MEND_FOLDER: Final = "Name another folder in [storage], or connect the drive that it lies on."
MEND_RIGHTS: Final = (
    "Let the user that Darkroom runs as write there, or name another folder in [storage]."
)
MEND_ROOM: Final = "Free some room there, or name another folder in [storage]."
MEND_STORE: Final = (
    "Look at pictures and picture_options in [storage], and at the keys in the environment."
)
MEND_DATABASE: Final = "Restore the file from a copy, or move it away to start anew."
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class StartError(Exception):
    """The bot can't start; the text says what to change."""


class InUseError(StartError):
    """Another process works with the same storage folder."""


@contextlib.asynccontextmanager
async def open_store(
    config: Config,
    *,
    migrating: bool = True,
    elsewhere: ElsewhereSettings | None = None,
    now: Now = machine_time,
) -> AsyncIterator[Store]:
    """All that is kept, with what holds where no server's settings do. Raises StartError when it
    can't be written.

    Its owner may bring the database to the newest schema; whoever works beside another process may
    not, and opens it without `migrating`.
    """
    for folder in (config.storage.picture_folder, config.storage.folder / "cache"):
        if folder is not None:
            await asyncio.to_thread(make_writable, folder)
    files = pictures_of(config)
    if isinstance(files, PictureObjects):
        try:
            await files.check()
        except OSError as error:
            raise StartError(f"{config.storage.pictures}: {error}. {MEND_STORE}") from error
    try:
        database = await open_database(database_url(config), migrating=migrating)
    except DatabaseError as error:
        raise StartError(why_no_database(config, error)) from error
    store = Store(database, files, elsewhere, now, config.storage.process)
    try:
        yield store
    finally:
        await store.jobs.close()
        await database.dispose()


@contextlib.asynccontextmanager
async def look_at_store(config: Config) -> AsyncIterator[Store]:
    """All that is kept, whole, to look at; nothing is written at all. Raises DatabaseError."""
    database = await open_read_only(database_url(config))
    try:
        await check_whole(database)
        yield Store(database, pictures_of(config))
    finally:
        await database.dispose()


def pictures_of(config: Config) -> PictureStore:
    """Where pictures lie: a folder, or an object store. Raises StartError."""
    shared = bool(config.storage.process)
    folder = config.storage.picture_folder
    if folder is not None:
        return PictureFiles(folder, shared=shared)
    try:
        return PictureObjects(
            config.storage.pictures, config.storage.picture_options, shared=shared
        )
    except ImportError:
        raise StartError(
            "pictures in an object store need the package obstore:"
            ' python -m pip install "darkroom[objects]"'
        ) from None
    except ValueError as error:
        raise StartError(f"{config.storage.pictures}: {error}. {MEND_STORE}") from None


@contextlib.contextmanager
def owning(config: Config) -> Iterator[None]:
    """Hold the storage folder for this process, and make it where there is none.

    To be held before the database is migrated. Raises InUseError when another process has it.
    """
    make_writable(config.storage.folder)
    path = config.storage.folder / LOCK
    try:
        # a lock that can't be written looks like one that another has
        path.open("ab").close()
        lock = FileLock(path)
        lock.acquire(timeout=0)
    except Timeout:
        raise InUseError(
            f"Another Darkroom works with {config.storage.folder}. Stop it, or name another folder"
            " in [storage]."
        ) from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def make_writable(folder: Path) -> None:
    """Make a folder where there is none, and write a file into it.

    Raises StartError, which names what can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error, "made") from error
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Write a file into a folder that is there, and leave none. Raises StartError."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise _unwritable(folder, error) from error


def database_url(config: Config) -> str:
    """The URL of the database that is set, or of the file in the folder."""
    return config.storage.database or sqlite_url(config.storage.folder / "darkroom.sqlite3")


def why_no_database(config: Config, error: DatabaseError) -> str:
    """One sentence for a database that can't be opened, and one on what to change."""
    name = shown_url(database_url(config))
    return f"The database {name} can't be opened: {error}. {_mend(config, error)}"


def _mend(config: Config, error: DatabaseError) -> str:
    match error:
        case DatabaseUnsupportedError():
            return "Look at [storage] database in config.toml, or leave it empty for SQLite."
        case SchemaNewerError():
            return (
                "A newer Darkroom made it: install that one, or name another folder in [storage]."
            )
        case SchemaOlderError():
            return "Stop the Darkroom that runs and start this one, which brings it up to date."
        case DatabaseDamagedError():
            return MEND_DATABASE
        case DatabaseFullError():
            return MEND_ROOM
        case DatabaseBusyError():
            return "Another program holds it: close that one, or wait until it is done."
    file = sqlite_file(database_url(config))
    if file is not None and file.is_dir():
        return "It is a folder: move it away, or name another folder in [storage]."
    if file is None:
        return "Look whether its server runs, and at [storage] database in config.toml."
    return MEND_RIGHTS


def _unwritable(path: Path, error: OSError, verb: str = "written") -> StartError:
    mend = MEND_FOLDER
    if error.errno in _NO_ROOM:
        mend = MEND_ROOM
    elif error.errno in _NO_RIGHT:
        mend = MEND_RIGHTS
    return StartError(f"{path} can't be {verb}: {error.strerror or error}. {mend}")
