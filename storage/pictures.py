"""Pictures on disk: files named by their SHA-256, written once and never changed."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path


class PictureMissingError(Exception):
    """A picture that the database knows is no longer on disk."""


class PictureFiles:
    """The files of all pictures, made and uploaded, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where the file of that hash lies, or would."""
        return self._folder / sha256[:2] / f"{sha256}.png"

    async def write(self, data: bytes) -> str:
        """Keep a file; returns its SHA-256. The same bytes are kept once."""
        return await asyncio.to_thread(self._write, data)

    async def read(self, sha256: str) -> bytes:
        """The file of that hash. Raises PictureMissingError."""
        try:
            return await asyncio.to_thread(self.path(sha256).read_bytes)
        except OSError as error:
            raise PictureMissingError(sha256) from error

    async def older_than(self, age: timedelta) -> set[str]:
        """The hashes of files that were last handed in so long ago."""
        return await asyncio.to_thread(self._older_than, time.time() - age.total_seconds())

    async def remove(self, files: Iterable[str]) -> None:
        """Delete files that nothing refers to any more; one that is gone is no error."""
        await asyncio.to_thread(self._remove, list(files))

    def _older_than(self, moment: float) -> set[str]:
        files = self._folder.glob("??/*.png")
        return {file.stem for file in files if file.stat().st_mtime < moment}

    def _remove(self, files: list[str]) -> None:
        for sha256 in files:
            self.path(sha256).unlink(missing_ok=True)

    def _write(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if path.exists():
            os.utime(path)  # wanted anew, so no longer old
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        # a half-written file must never bear the name of its hash
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        return sha256
