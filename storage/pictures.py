"""Pictures in a folder: files named by their SHA-256."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from generation.picture_files import suffix_of
from storage.picture_store import PictureStore

log = structlog.get_logger(__name__)

BATCH: Final = 500
"""Files that a sweep looks at before others have their turn."""
SUFFIXES: Final = (".png", ".webp", ".jpg")
"""How files' names end; of what is no picture like the first."""
PART: Final = ".part"
"""Ends the name of a file that is being written."""


class PictureFiles(PictureStore):
    """The files of all pictures below one folder."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        super().__init__(shared=shared)
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where the file of that hash lies, or would lie as a PNG."""
        paths = [self._path(sha256, suffix) for suffix in SUFFIXES]
        return next((path for path in paths[1:] if path.exists()), paths[0])

    def _path(self, sha256: str, suffix: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}{suffix}"

    def place_of(self, sha256: str) -> str:
        """Its path."""
        return str(self.path(sha256))

    async def _write(self, sha256: str, data: bytes) -> None:
        await asyncio.to_thread(self._write_now, sha256, data)

    async def _read(self, sha256: str) -> bytes:
        return await asyncio.to_thread(lambda: self.path(sha256).read_bytes())

    async def _head(self, sha256: str, count: int) -> bytes:
        def head() -> bytes:
            with self.path(sha256).open("rb") as file:
                return file.read(count)

        return await asyncio.to_thread(head)

    async def _size(self, sha256: str) -> int:
        return await asyncio.to_thread(lambda: self.path(sha256).stat().st_size)

    async def sizes(self) -> AsyncIterator[list[int]]:
        """The bytes of all files, some at a time."""
        sizes = self._all_sizes()
        while (some := await asyncio.to_thread(next, sizes, None)) is not None:
            yield some

    def _all_sizes(self) -> Iterator[list[int]]:
        entries = self._entries()
        while some := list(itertools.islice(entries, BATCH)):
            yield [_bytes_of(entry) for entry in some]

    async def _remove(self, files: Sequence[str], unless_since: float | None) -> Sequence[str]:
        return await asyncio.to_thread(self._remove_now, files, unless_since)

    def _remove_now(self, files: Sequence[str], unless_since: float | None) -> Sequence[str]:
        removed = []
        for sha256 in files:
            path = self.path(sha256)
            if unless_since is not None and _modified(path) >= unless_since:
                continue
            path.unlink(missing_ok=True)
            removed.append(sha256)
        return removed

    async def _older_than(self, moment: float) -> AsyncIterator[list[str]]:
        names = self._names_older_than(moment)
        while (some := await asyncio.to_thread(next, names, None)) is not None:
            if some:
                yield some

    def _names_older_than(self, moment: float) -> Iterator[list[str]]:
        """In batches, also where few are that old: between them the caller's loop goes on."""
        found: list[str] = []
        for number, entry in enumerate(self._entries(), 1):
            try:
                old = entry.stat().st_mtime < moment
                if old and entry.name.endswith(PART):
                    Path(entry.path).unlink(missing_ok=True)
                elif old and _is_picture(entry.name):
                    found.append(Path(entry.name).stem)
            except OSError as error:
                log.warning("a file can't be looked at", file=entry.path, error=str(error))
            if number % BATCH == 0:
                yield found
                found = []
        yield found

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as folders:
                names = [entry.path for entry in folders if len(entry.name) == 2]
        except FileNotFoundError:
            return
        for name in names:
            try:
                with os.scandir(name) as entries:
                    yield from entries
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _write_now(self, sha256: str, data: bytes) -> None:
        path = self._path(sha256, suffix_of(data))
        try:
            if path.read_bytes() == data:
                os.utime(path)  # wanted anew, so no longer old
                return
        except OSError:
            pass  # not there, or no longer readable: written anew
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder)
        # a half-written file must never bear the name of its hash
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=PART)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _bytes_of(entry: os.DirEntry[str]) -> int:
    """The size of a file; 0 where it has gone meanwhile."""
    try:
        return entry.stat().st_size
    except OSError:
        return 0


def _modified(path: Path) -> float:
    """When a file was written; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_picture(name: str) -> bool:
    stem, dot, ending = name.partition(".")
    named = len(stem) == 64 and set(stem) <= set("0123456789abcdef")
    return named and dot + ending in SUFFIXES


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a power cut too; Windows keeps them by itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
