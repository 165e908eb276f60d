"""What tells whether two files on different machines are the same, without reading all of them."""

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from generation.models import ModelFile

WHOLE_UP_TO: Final = 64 * 2**20
"""Bytes; of a larger file the beginning, the end and a sample of what lies between are read."""
ENDS: Final = 2**20
SAMPLE: Final = 4096
EVERY: Final = 8 * 2**20
"""Bytes between two samples: two checkpoints that differ in their VAE alone differ in twenty."""


class Identities:
    """The identities of files, each read once as long as it does not change. Blocks."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, str]] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> str:
        """A SHA-256 over a file's size and what was read of it, or over those of the files of a
        folder with their names; "" where it can't be read.
        """
        try:
            mark = _mark(path)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            found = _of_folder(path) if path.is_dir() else _of_file(path)
        except OSError:
            return ""
        with self._lock:
            self._known[path] = mark, found
        return found

    def of_all(self, models: Iterable[ModelFile]) -> Mapping[Path, str]:
        """Those of models and of what lies beside them."""
        files = [file for model in models for file in model.files]
        paths = {path for file in files for path in (file.path, file.labels) if path is not None}
        found = {path: self.of(path) for path in paths}
        return {path: identity for path, identity in found.items() if identity}


def _mark(path: Path) -> object:
    if path.is_dir():
        return tuple(_mark(file) for file in _files(path))
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder).as_posix()}\n{_of_file(file)}\n".encode())
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(f"{size}\n".encode())
        if size <= WHOLE_UP_TO:
            for chunk in iter(lambda: file.read(ENDS), b""):
                digest.update(chunk)
            return digest.hexdigest()
        digest.update(file.read(ENDS))
        for start in range(EVERY, size - ENDS, EVERY):
            file.seek(start)
            digest.update(file.read(SAMPLE))
        file.seek(size - ENDS)
        digest.update(file.read(ENDS))
        return digest.hexdigest()
