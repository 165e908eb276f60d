"""Where the world is kept: one SQLite table of JSON records, and a folder of attachments.

Without a folder both live in memory only.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id));
"""


class Store:
    """Records by kind and id. Each save is one transaction: a kill loses nothing before it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: dict[str, bytes] = {}
        if folder is not None:
            (folder / "attachments").mkdir(parents=True, exist_ok=True)
        path = ":memory:" if folder is None else str(folder / "discord.sqlite3")
        self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        # one process a folder: another one finds the database locked
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # WAL without fsync: safe against a killed process, which is what tests do
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(SCHEMA)

    def save(self, kind: str, id_: str, record: Any) -> None:
        if self.folder is None:
            return
        body = json.dumps(record, default=dataclasses.asdict)
        self._database.execute("REPLACE INTO records VALUES (?, ?, ?)", (kind, id_, body))

    def remove(self, kind: str, id_: str) -> None:
        self._database.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, id_))

    def load(self, kind: str) -> Iterator[Any]:
        """The saved JSON of every record of the kind, oldest id first."""
        rows = self._database.execute(
            "SELECT body FROM records WHERE kind = ? ORDER BY length(id), id", (kind,)
        )
        for (body,) in rows.fetchall():
            yield json.loads(body)

    def clear(self) -> None:
        self._database.execute("DELETE FROM records")
        self._files.clear()
        if self.folder is not None:
            for path in (self.folder / "attachments").iterdir():
                path.unlink()

    def write_file(self, id_: str, content: bytes) -> None:
        if self.folder is None:
            self._files[id_] = content
        else:
            (self.folder / "attachments" / id_).write_bytes(content)

    def read_file(self, id_: str) -> bytes | None:
        if self.folder is None:
            return self._files.get(id_)
        path = self.folder / "attachments" / id_
        return path.read_bytes() if path.is_file() else None

    def remove_file(self, id_: str) -> None:
        self._files.pop(id_, None)
        if self.folder is not None:
            (self.folder / "attachments" / id_).unlink(missing_ok=True)

    def close(self) -> None:
        self._database.close()


def decode(kind: Any, value: Any) -> Any:
    """JSON back into the annotated type: dataclasses, lists, dicts and unions with None."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        known = {f.name for f in dataclasses.fields(kind)}
        fields = {name: decode(hints[name], v) for name, v in value.items() if name in known}
        return kind(**fields)  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [decode(arguments[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: decode(arguments[1], item) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType) and value is not None:
        return decode(next(a for a in arguments if a is not type(None)), value)
    return value
