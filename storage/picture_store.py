"""Pictures, kept by the SHA-256 of their bytes, written once and never changed."""

import abc
import asyncio
import collections
import contextlib
import errno
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

import structlog

from storage.errors import PicturesAwayError

log = structlog.get_logger(__name__)

HASH: Final = re.compile("[0-9a-f]{64}")
WRITTEN_BESIDE: Final = 60.0
"""Seconds for which what was written stays, where other processes write there, too: one of them may
be about to name it.
"""
LOOKS_AT_ONCE: Final = 16
"""Files that are looked at side by side."""
_PASSES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT}
    | {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ESTALE}
)
"""What a file that is there can't be opened for, for a while."""


class ObjectStoreError(OSError):
    """The store could not be reached, or refused; what was asked may be asked again."""


class PictureMissingError(Exception):
    """A picture that the database knows is no longer where it was kept."""


class PictureBrokenError(PictureMissingError):
    """The file of a picture is there, and is not what was written."""


class PictureStore(abc.ABC):
    """The files of all pictures, made and uploaded. Used in one event loop.

    With `shared` other processes keep theirs in the same place.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._kept: collections.Counter[str] = collections.Counter()
        """Files that are being written, or that nothing names yet."""
        self._removals: list[set[str]] = []
        """What was written while each removal looked for what is unused."""
        self._going: dict[str, asyncio.Event] = {}
        """What is being removed; whoever writes the same waits until it is gone."""

    async def write(self, data: bytes) -> str:
        """Keep a file; returns its SHA-256. The same bytes are kept once."""
        async with self.keeping(data) as sha256:
            return sha256

    @contextlib.asynccontextmanager
    async def keeping(self, data: bytes) -> AsyncIterator[str]:
        """Keep a file, and let nobody remove it until the block ends, by when something names it.

        Yields its SHA-256. Raises OSError.
        """
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        self._kept[sha256] += 1
        for written in self._removals:
            written.add(sha256)
        try:
            if sha256 in self._going:
                await self._going[sha256].wait()
            await self._write(sha256, data)
            yield sha256
        finally:
            self._kept[sha256] -= 1
            if not self._kept[sha256]:
                del self._kept[sha256]

    async def read(self, sha256: str) -> bytes:
        """The file of that hash. Raises PictureMissingError, also where it is no longer whole, and
        PicturesAwayError.
        """
        with _told_apart(sha256):
            data = await self._read(_checked(sha256))
        if await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()) != sha256:
            log.error("a picture's file is not what was written", file=self.place_of(sha256))
            raise PictureBrokenError(sha256)
        return data

    async def head(self, sha256: str, count: int) -> bytes:
        """The first bytes of that file, as they lie there. Raises PictureMissingError and
        PicturesAwayError.
        """
        with _told_apart(sha256):
            return await self._head(_checked(sha256), count)

    def older_than(self, age: timedelta) -> AsyncIterator[list[str]]:
        """The hashes of files that were last handed in so long ago, a few at a time.

        On the way, what a write left behind that was cut off so long ago is removed.
        """
        return self._older_than(time.time() - age.total_seconds())

    @contextlib.contextmanager
    def removing(self) -> Iterator["Removal"]:
        """A removal, to be begun before it is asked which files are unused."""
        written: set[str] = set()
        self._removals.append(written)
        try:
            yield Removal(self, written)
        finally:
            self._removals = [other for other in self._removals if other is not written]

    async def _remove_unwritten(self, files: Iterable[str], written: set[str]) -> Sequence[str]:
        # somebody handed in the same again, or is taking it away already
        kept = self._kept.keys() | written | self._going.keys()
        unused = [sha256 for sha256 in dict.fromkeys(files) if sha256 not in kept]
        gone = asyncio.Event()
        self._going |= dict.fromkeys(unused, gone)
        try:
            since = time.time() - WRITTEN_BESIDE if self._shared else None
            return await self._remove(unused, since)
        finally:
            for sha256 in unused:
                del self._going[sha256]
            gone.set()

    async def sizes_of(self, files: Iterable[str]) -> dict[str, int]:
        """Bytes of the files of these hashes; 0 where there is none. Raises PicturesAwayError."""
        places = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def size(sha256: str) -> int:
            async with places:
                try:
                    with _told_apart(sha256):
                        return await self._size(_checked(sha256))
                except PictureMissingError:
                    return 0

        names = list(dict.fromkeys(files))
        return dict(zip(names, await asyncio.gather(*map(size, names)), strict=True))

    # where they lie

    @abc.abstractmethod
    def place_of(self, sha256: str) -> str:
        """Where the file of that hash lies, in words."""

    @abc.abstractmethod
    async def _write(self, sha256: str, data: bytes) -> None:
        """Keep a file; one that is there is as if just written. Raises OSError."""

    @abc.abstractmethod
    async def _read(self, sha256: str) -> bytes:
        """Raises OSError."""

    @abc.abstractmethod
    def sizes(self) -> AsyncIterator[list[int]]:
        """The bytes of all files, some at a time. Raises OSError."""

    @abc.abstractmethod
    async def _size(self, sha256: str) -> int:
        """Raises OSError."""

    @abc.abstractmethod
    async def _head(self, sha256: str, count: int) -> bytes:
        """Raises OSError."""

    @abc.abstractmethod
    async def _remove(self, files: Sequence[str], unless_since: float | None) -> Sequence[str]:
        """Delete files, but for those that were written since that time (seconds since 1970); one
        that is gone is no error. Returns all that are not there then. Raises OSError.
        """

    @abc.abstractmethod
    def _older_than(self, moment: float) -> AsyncIterator[list[str]]:
        """The hashes of files that were last written before that time, a few at a time."""


class Removal:
    """The removal of files that nothing names; those that came meanwhile stay."""

    def __init__(self, files: PictureStore, written: set[str]) -> None:
        self._files = files
        self._written = written

    async def remove(self, files: Iterable[str]) -> Sequence[str]:
        """Delete files that nothing names; one that is gone is no error. Returns which."""
        return await self._files._remove_unwritten(files, self._written)


@contextlib.contextmanager
def _told_apart(sha256: str) -> Iterator[None]:
    """What is not there, and what can't be reached for now: nobody is to be told that a picture is
    gone which comes back with its store.
    """
    try:
        yield
    except ObjectStoreError as error:
        raise PicturesAwayError(f"the store of pictures doesn't answer: {error}") from error
    except OSError as error:
        if error.errno in _PASSES:
            raise PicturesAwayError(f"a picture can't be read: {error.strerror}") from error
        raise PictureMissingError(sha256) from error


def _checked(sha256: str) -> str:
    """A hash; what somebody made up leads to no file. Raises PictureMissingError."""
    if not HASH.fullmatch(sha256):
        raise PictureMissingError(sha256)
    return sha256
