"""The database and the storage folder, looked at only."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Final

from bot.cli.doctor.finding import GIB, Finding
from bot.config import Config
from bot.storage_folder import (
    LOCK,
    InUseError,
    StartError,
    check_writable,
    database_url,
    look_at_store,
    owning,
    pictures_of,
    why_no_database,
)
from storage.database import shown_url, sqlite_file
from storage.errors import DatabaseError, SchemaOlderError
from storage.picture_objects import PictureObjects

DISK_MIN: Final = 2 * GIB


async def check_database(config: Config) -> AsyncIterator[Finding]:
    """That it opens, is whole and has a schema that this version can bring up to date.

    Only looked at: nothing is made, migrated or written.
    """
    url = database_url(config)
    where = shown_url(url)
    try:
        file = sqlite_file(url)
        if file is not None and not file.exists():
            yield Finding("database", f"{where}, which the first start makes")
            return
        async with look_at_store(config) as store:
            waiting = len(await store.jobs.waiting())
    except SchemaOlderError as error:
        yield Finding("database", f"{where}: {error}; the next start brings it up to date")
    except (DatabaseError, OSError) as error:
        wrong = error if isinstance(error, DatabaseError) else DatabaseError(str(error))
        yield Finding("database", where, why_no_database(config, wrong))
    else:
        yield Finding("database", f"{where}, {waiting} jobs waiting")


async def _object_store(config: Config) -> Finding:
    try:
        files = pictures_of(config)
        assert isinstance(files, PictureObjects)
        await files.check()
    except (StartError, OSError) as error:
        return Finding("pictures", config.storage.pictures, str(error))
    return Finding("pictures", f"{config.storage.pictures} can be written")


async def check_disk(config: Config) -> AsyncIterator[Finding]:
    """The storage folder: that it can be written, and has room for pictures."""
    folder = config.storage.folder
    try:
        # a folder that the first start makes is on the disk of the one that it will lie in
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        pictures = config.storage.picture_folder or folder
        for path in (folder, pictures, folder / "cache"):
            if path == folder or path.exists():
                await asyncio.to_thread(check_writable, path if path.exists() else there)
        free = shutil.disk_usage(there).free
    except (StartError, OSError) as error:
        yield Finding("disk", str(folder), str(error))
        return
    if config.storage.picture_folder is None:
        yield await _object_store(config)
    low = free < DISK_MIN
    yield Finding(
        "disk",
        f"{free / GIB:.1f} GiB free at {folder}",
        "Free some room, or name another folder in [storage]." if low else "",
        fatal=False,
    )
    if (folder / LOCK).exists():
        try:
            with owning(config):
                pass
        except InUseError:
            yield Finding("storage", f"{folder} is in use by a bot that runs")
        except StartError as error:
            yield Finding("storage", str(folder), str(error))
