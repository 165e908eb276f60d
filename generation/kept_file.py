"""What was computed once from a file is kept for later starts, as JSON in the cache folder."""

import json
import os
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class KeptFile:
    """A dictionary in a file. Where it can't be read or written, things are computed anew."""

    def __init__(self, file: Path) -> None:
        self.found: dict[str, Any] = {}
        self._file = file
        try:
            loaded = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # not there yet, or half written by a crash
        if isinstance(loaded, dict):
            self.found = loaded

    def save(self) -> None:
        """Write it whole; a disk that takes nothing costs a line in the log."""
        part = self._file.with_suffix(f".{os.getpid()}.part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self.found), encoding="utf-8")
            part.replace(self._file)
        except OSError as error:
            log.warning("a cache can't be written", path=str(self._file), error=str(error))
