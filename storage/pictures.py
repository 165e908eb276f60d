"""Pictures on disk: files named by their SHA-256, written once and never changed."""

import asyncio
import collections
import contextlib
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from generation.picture_files import suffix_of

HASH: Final = re.compile("[0-9a-f]{64}")
log = structlog.get_logger(__name__)

BATCH: Final = 500
"""Files that a sweep looks at before others have their turn."""
SUFFIXES: Final = (".png", ".webp", ".jpg")
"""How files' names end; of what is no picture like the first."""
PART: Final = ".part"
"""Ends the name of a file that is being written."""


class PictureMissingError(Exception):
    """A picture that the database knows is no longer on disk."""


class PictureBrokenError(PictureMissingError):
    """The file of a picture is there, and is not what was written."""


class PictureFiles:
    """The files of all pictures, made and uploaded, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        """Held while it is decided whether a file goes or stays."""
        self._kept: collections.Counter[str] = collections.Counter()
        """Files that are being written, or that nothing names yet."""
        self._removals: list[set[str]] = []
        """What was written while each removal looked for what is unused."""

    def path(self, sha256: str) -> Path:
        """Where the file of that hash lies, or would lie as a PNG."""
        paths = [self._path(sha256, suffix) for suffix in SUFFIXES]
        return next((path for path in paths[1:] if path.exists()), paths[0])

    def _path(self, sha256: str, suffix: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}{suffix}"

    async def write(self, data: bytes) -> str:
        """Keep a file; returns its SHA-256. The same bytes are kept once."""
        async with self.keeping(data) as sha256:
            return sha256

    @contextlib.asynccontextmanager
    async def keeping(self, data: bytes) -> AsyncIterator[str]:
        """Keep a file, and let nobody remove it until the block ends, by when something names it.

        Yields its SHA-256.
        """
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        with self._lock:
            self._kept[sha256] += 1
            for written in self._removals:
                written.add(sha256)
        try:
            await asyncio.to_thread(self._write, sha256, data)
            yield sha256
        finally:
            with self._lock:
                self._kept[sha256] -= 1
                if not self._kept[sha256]:
                    del self._kept[sha256]

    async def read(self, sha256: str) -> bytes:
        """The file of that hash. Raises PictureMissingError, also where it is no longer whole."""
        return await asyncio.to_thread(self._read, sha256)

    async def head(self, sha256: str, count: int) -> bytes:
        """The first bytes of that file, as they lie there. Raises PictureMissingError."""
        return await asyncio.to_thread(self._head, sha256, count)

    async def older_than(self, age: timedelta) -> AsyncIterator[list[str]]:
        """The hashes of files that were last handed in so long ago, a few at a time.

        On the way, what a write left behind that was cut off so long ago is removed.
        """
        names = self._older_than(time.time() - age.total_seconds())
        while (some := await asyncio.to_thread(next, names, None)) is not None:
            if some:
                yield some

    @contextlib.contextmanager
    def removing(self) -> Iterator["Removal"]:
        """A removal, to be begun before it is asked which files are unused."""
        written: set[str] = set()
        with self._lock:
            self._removals.append(written)
        try:
            yield Removal(self, written)
        finally:
            with self._lock:
                self._removals = [other for other in self._removals if other is not written]

    def _remove(self, files: list[str], written: set[str]) -> int:
        count = 0
        for sha256 in files:
            with self._lock:
                if sha256 in self._kept or sha256 in written:
                    continue  # somebody handed in the same again
                self.path(sha256).unlink(missing_ok=True)
            count += 1
        return count

    def _head(self, sha256: str, count: int) -> bytes:
        try:
            with self._named(sha256).open("rb") as file:
                return file.read(count)
        except OSError as error:
            raise PictureMissingError(sha256) from error

    def _named(self, sha256: str) -> Path:
        if not HASH.fullmatch(sha256):
            # what somebody made up leads to no file
            raise PictureMissingError(sha256)
        return self.path(sha256)

    def _read(self, sha256: str) -> bytes:
        try:
            data = self._named(sha256).read_bytes()
        except OSError as error:
            raise PictureMissingError(sha256) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            log.error("a picture's file is not what was written", file=str(self.path(sha256)))
            raise PictureBrokenError(sha256)
        return data

    def _older_than(self, moment: float) -> Iterator[list[str]]:
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

    def _write(self, sha256: str, data: bytes) -> None:
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


class Removal:
    """The removal of files that nothing names; those that came meanwhile stay."""

    def __init__(self, files: PictureFiles, written: set[str]) -> None:
        self._files = files
        self._written = written

    async def remove(self, files: Iterable[str]) -> int:
        """Delete files that nothing names; one that is gone is no error. Returns how many."""
        return await asyncio.to_thread(self._files._remove, list(files), self._written)


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
