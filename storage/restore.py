"""A backup becomes a database and pictures again: nothing in it is believed that is not checked."""

import asyncio
import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from storage import table_dump
from storage.backup import AT_ONCE, CONFIG, FORMAT, MANIFEST, PICTURE, ROWS_OF, Manifest, Progressed
from storage.database import Database, make_database, sqlite_file, sqlite_url
from storage.picture_store import PictureStore
from storage.table_dump import LINE_BYTES, DumpDamagedError

NAMES: Final = re.compile(
    r"manifest\.json|config\.toml|database/[a-z_]+\.jsonl|pictures/[0-9a-f]{64}"
)
SMALL_BYTES: Final = 2**20
"""Of the settings' text."""
MANIFEST_BYTES: Final = 256 * 2**20
PICTURE_BYTES: Final = 2**30
SHRUNK_AT_MOST: Final = 250
"""How many times as small as itself a text of rows may be."""
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError)
_KEEPS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BackupRefusedError(Exception):
    """The file is no backup, or one that can't be trusted; the text says why."""


class NotEmptyError(Exception):
    """Something is kept already where a backup was to be restored."""


class Restored(msgspec.Struct, frozen=True):
    """What came back. `lost` are pictures that requests name and the backup does not have whole;
    `changed` counts texts that this database could not hold as they were.
    """

    manifest: Manifest
    pictures: int
    lost: tuple[str, ...]
    changed: int


class Backup:
    """A backup file, opened. Raises OSError and BackupRefusedError."""

    def __init__(self, file: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
            self._check(file.stat().st_size)
            text = self._read(MANIFEST, MANIFEST_BYTES)
        except _BROKEN as error:
            raise BackupRefusedError("it is no whole zip file") from error
        except KeyError as error:
            raise BackupRefusedError("it has no manifest") from error
        try:
            self.manifest = msgspec.json.decode(text, type=Manifest)
        except (ValueError, RecursionError) as error:
            raise BackupRefusedError("its manifest can't be read") from error
        if self.manifest.format > FORMAT:
            raise BackupRefusedError("a newer Darkroom made it: install that one")
        self.pictures = sorted(
            name.partition("/")[2]
            for name in self._archive.namelist()
            if name.startswith(PICTURE.format(""))
        )

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    @property
    def size(self) -> int:
        """Bytes of all that is in it."""
        return sum(entry.file_size for entry in self._archive.infolist())

    def config(self) -> bytes | None:
        """The text of the settings."""
        if CONFIG not in self._archive.namelist():
            return None
        return self._read(CONFIG, SMALL_BYTES)

    def check_rows(self) -> None:
        """Hold the rows against their hashes. Raises BackupRefusedError."""
        for name, table in self.manifest.dumped.tables.items():
            found = hashlib.sha256()
            try:
                for line in self.lines_of(name):
                    found.update(line)
            except (DumpDamagedError, KeyError, *_BROKEN) as error:
                raise BackupRefusedError(f"its rows of {name} are damaged") from error
            if found.hexdigest() != table.sha256:
                raise BackupRefusedError(f"its rows of {name} are damaged")

    def lines_of(self, table: str) -> Iterator[bytes]:
        """A table's rows. Raises DumpDamagedError."""
        with self._archive.open(ROWS_OF.format(table)) as file:
            while line := file.readline(LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise DumpDamagedError(f"a row of {table} is cut off")
                yield line

    def picture(self, sha256: str) -> bytes | None:
        """A picture that is what its name says; else None."""
        try:
            data = self._archive.read(PICTURE.format(sha256))
        except _BROKEN:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _read(self, name: str, most: int) -> bytes:
        with self._archive.open(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BackupRefusedError(f"{name} is too large")
        return data

    def _check(self, size: int) -> None:
        """That all names are those of a backup, and nothing grows beyond measure."""
        seen = set()
        packed = 0
        for entry in self._archive.infolist():
            name = entry.filename
            if not NAMES.fullmatch(name) or name in seen:
                raise BackupRefusedError("it has files in it that no backup has")
            seen.add(name)
            packed += entry.compress_size
            if entry.flag_bits & 1 or entry.compress_type not in _KEEPS:
                raise BackupRefusedError("it is not packed as a backup is")
            picture = name.startswith(PICTURE.format(""))
            if picture and (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.file_size != entry.compress_size
                or entry.file_size > PICTURE_BYTES
            ):
                raise BackupRefusedError("a picture in it is not packed as a backup's is")
            if entry.file_size > entry.compress_size * SHRUNK_AT_MOST + SMALL_BYTES:
                raise BackupRefusedError("it would grow beyond measure")
        if packed > size:
            raise BackupRefusedError("it would grow beyond measure")


async def restore(backup: Backup, url: str, files: PictureStore, said: Progressed) -> Restored:
    """Bring back pictures, then all rows at once, with the newest schema.

    Raises NotEmptyError, BackupRefusedError, DumpDamagedError, DatabaseError, OSError; then the
    database is as empty as it was.
    """
    file = sqlite_file(url)
    part = None if file is None else file.with_name(f".{file.name}.restoring")
    if file is not None and part is not None:
        if file.exists():
            raise NotEmptyError
        for leftover in _of_database(part):
            leftover.unlink(missing_ok=True)
        url = sqlite_url(part)
    database = make_database(url, "migrate")
    try:
        if not await database.read(table_dump.is_empty):
            raise NotEmptyError
        await asyncio.to_thread(backup.check_rows)
        came, lost = await _restore_pictures(backup, files, said)
        changed = await _restore_rows(backup, database, said)
    except BaseException:
        await database.dispose()
        for leftover in _of_database(part) if part is not None else ():
            leftover.unlink(missing_ok=True)
        raise
    await database.dispose()
    if file is not None and part is not None:
        part.replace(file)
    manifest = backup.manifest
    gone = {*lost, *manifest.missing, *manifest.broken}
    return Restored(manifest, came, tuple(sorted(gone)), changed)


async def _restore_pictures(
    backup: Backup, files: PictureStore, said: Progressed
) -> tuple[int, list[str]]:
    lost: list[str] = []
    total = len(backup.pictures)

    async def bring(sha256: str, data: bytes | None) -> None:
        if data is None:
            lost.append(sha256)
        else:
            await files.write(data)

    for start in range(0, total, AT_ONCE):
        some = backup.pictures[start : start + AT_ONCE]
        found = [(sha256, await asyncio.to_thread(backup.picture, sha256)) for sha256 in some]
        await asyncio.gather(*(bring(sha256, data) for sha256, data in found))
        said("pictures", start + len(some), total)
    return total - len(lost), lost


async def _restore_rows(backup: Backup, database: Database, said: Progressed) -> int:
    totals = {name: table.rows for name, table in backup.manifest.dumped.tables.items()}
    return await database.write(
        lambda connection: table_dump.load(
            connection,
            backup.manifest.dumped,
            backup.lines_of,
            lambda table, rows: said(table, rows, totals.get(table)),
        )
    )


def _of_database(file: Path) -> list[Path]:
    return [file.with_name(file.name + ending) for ending in ("", "-wal", "-shm")]
