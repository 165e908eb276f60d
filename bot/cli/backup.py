"""`darkroom backup FILE` and `darkroom restore FILE`: all that is kept, in one file and back."""

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from bot.cli.config_copy import without_secrets
from bot.config import Config
from bot.storage_folder import (
    LOCK,
    MEND_STORE,
    StartError,
    database_url,
    make_writable,
    owning,
    pictures_of,
    why_no_database,
)
from generation.regular_files import printable
from storage.backup import Progressed, back_up
from storage.database import shown_url, sqlite_file
from storage.errors import DatabaseError, PicturesAwayError, SchemaNewerError
from storage.restore import Backup, BackupRefusedError, NotEmptyError, restore
from storage.table_dump import DumpDamagedError

NAMED_AT_MOST: Final = 20
"""Pictures that are named one by one."""
GIB: Final = 2**30
UNFINISHED: Final = "restore-unfinished"
"""Lies in the storage folder while a backup comes back."""
OLD_CONFIG: Final = "config-of-backup.toml"
OF_NO_MATTER: Final = frozenset((LOCK, "cache", UNFINISHED, OLD_CONFIG))
"""What a folder may have that counts as empty."""


def add_backup_flags(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="the zip file to write, or a folder, where it is named for the time",
    )


def add_restore_flags(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what darkroom backup has written")


async def backup(config: Config, arguments: argparse.Namespace) -> int:
    """Write a backup, also while the bot runs. The exit status: 1 where it lacks something."""
    now = datetime.now(UTC)
    file = _target(arguments.file, now)
    text = None
    if config.file.is_file():
        text = without_secrets(config.file.read_text(encoding="utf-8-sig", errors="replace"))
    files = pictures_of(config)
    try:
        with _progress() as said:
            made = await back_up(database_url(config), files, text, file, now, said)
    except PicturesAwayError as error:
        raise StartError(f"There is no backup: {error}. {MEND_STORE}") from None
    except DatabaseError as error:
        name = shown_url(database_url(config))
        raise StartError(f"The database {name} can't be read: {error}.") from None
    except OSError as error:
        raise StartError(f"{printable(str(file))}: {error.strerror or error}.") from None
    jobs = made.dumped.tables["jobs"].rows
    pictures = f"{made.pictures} pictures ({made.picture_bytes / GIB:.2f} GiB)"
    sys.stdout.write(f"{printable(str(file))}: {jobs} requests, {pictures}\n")
    if config.file.is_file() and text is None:
        sys.stderr.write(
            "config.toml is not in it: a secret there can't be told from the rest. Copy it by"
            " hand.\n"
        )
    _name("is not there", [files.place_of(sha256) for sha256 in made.missing])
    _name("is not what was written", [files.place_of(sha256) for sha256 in made.broken])
    return int(bool(made.missing or made.broken))


def _target(written: str, now: datetime) -> Path:
    file = Path(written)
    if file.is_dir():
        file = file / f"darkroom-{now:%Y%m%d-%H%M%S}.zip"
    elif written.endswith(("/", os.sep)):
        # it is not made: a drive that is not connected would be filled beneath
        raise StartError(f"{printable(written)}: there is no such folder. Make it, or connect it.")
    if os.path.lexists(file):
        raise StartError(f"{printable(str(file))} is there already. Name another file.")
    return file


async def restore_backup(config: Config, arguments: argparse.Namespace) -> int:
    """Bring a backup back into an empty folder. The exit status: 1 where something is lost."""
    name = printable(str(arguments.file))
    try:
        opened = Backup(arguments.file)
    except BackupRefusedError as error:
        raise StartError(f"{name} is refused: {error}.") from None
    except OSError as error:
        raise StartError(f"{name}: {error.strerror or error}.") from None
    folder = config.storage.folder
    with contextlib.closing(opened), owning(config):
        _check_empty(config)
        _check_room(folder, opened)
        marker = folder / UNFINISHED
        marker.touch()
        if config.storage.picture_folder is not None:
            make_writable(config.storage.picture_folder)
        files = pictures_of(config)
        try:
            with _progress() as said:
                restored = await restore(opened, database_url(config), files, said)
        except NotEmptyError:
            marker.unlink()
            raise _not_empty(shown_url(database_url(config))) from None
        except (BackupRefusedError, DumpDamagedError) as error:
            raise StartError(f"{name} is refused: {error}.") from None
        except SchemaNewerError as error:
            raise StartError(f"{name} is of a newer Darkroom: {error}. Install that one.") from None
        except DatabaseError as error:
            raise StartError(why_no_database(config, error)) from None
        except OSError as error:
            place = error.filename or config.storage.pictures or folder
            raise StartError(f"{place}: {error.strerror or error}.") from None
        text = opened.config()
        if text is not None:
            (folder / OLD_CONFIG).write_bytes(text)
        marker.unlink()
    made = restored.manifest
    jobs = made.dumped.tables["jobs"].rows
    sys.stdout.write(
        f"Restored as it was at {made.made_at:%Y-%m-%d %H:%M} UTC: {jobs} requests,"
        f" {restored.pictures} pictures.\n"
    )
    if text is not None:
        sys.stdout.write(f"Its settings lie in {folder / OLD_CONFIG}; {config.file} holds.\n")
    if restored.changed:
        sys.stderr.write(f"{restored.changed} texts have signs that this database can't hold.\n")
    _name("is not in the backup as it was", restored.lost)
    taken_out = made.pictures - len(opened.pictures)
    if taken_out:
        sys.stderr.write(
            f"Taken out of the backup since it was made: pictures, {taken_out} in all.\n"
        )
    return int(bool(restored.lost or taken_out))


def _check_empty(config: Config) -> None:
    folder = config.storage.folder
    there = {entry.name for entry in folder.iterdir()} - OF_NO_MATTER
    pictures = config.storage.picture_folder
    database = sqlite_file(database_url(config))
    if database is not None and database.exists():
        raise _not_empty(str(database))
    if (folder / UNFINISHED).exists():
        return  # what a restore that was cut short has left
    if database is not None:
        there -= {f".{database.name}.restoring"}
    if pictures is not None and pictures.is_dir() and not any(pictures.iterdir()):
        there -= {pictures.name}
    elif pictures is not None and pictures.is_dir():
        raise _not_empty(str(pictures))
    if there:
        raise _not_empty(str(folder))


def _not_empty(place: str) -> StartError:
    return StartError(
        f"{place} is not empty. A backup is restored beside nothing else: name another folder or"
        " database in [storage], or move that away."
    )


def _check_room(folder: Path, opened: Backup) -> None:
    free = shutil.disk_usage(folder).free
    if opened.size > free:
        raise StartError(
            f"It takes {opened.size / GIB:.2f} GiB, and {free / GIB:.2f} GiB are free in {folder}."
        )


def _name(what: str, places: Sequence[str]) -> None:
    for place in places[:NAMED_AT_MOST]:
        sys.stderr.write(f"{place} {what}.\n")
    if len(places) > NAMED_AT_MOST:
        sys.stderr.write(f"… and {len(places) - NAMED_AT_MOST} more.\n")


@contextlib.contextmanager
def _progress() -> Iterator[Progressed]:
    """Shows how far it is, where somebody looks."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def said(what: str, done: int, total: int | None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total or done)

        yield said
