"""What a host says of its models, and which of its files is meant by what was said."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from generation.catalog import Catalog
from generation.file_identity import Identities
from generation.messaging import wire
from generation.messaging.wire import Listing

log = structlog.get_logger(__name__)


class FileGoneError(Exception):
    """A file that was told of is not there any more, or is another; the text is its name."""


class HostModels:
    """The host's catalogue as others are told of it."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.listing = b""
        self.revision = ""
        """The hash of the listing."""
        self._identities = Identities()
        self._told: dict[str, Path] = {}

    async def look(self) -> bool:
        """Scan again; whether something has changed. What cannot be identified is not told of."""
        await self.catalog.scan()
        return await asyncio.to_thread(self._list)

    def _list(self) -> bool:
        models = self.catalog.all
        known = self._identities.of_all(models)
        whole = tuple(
            model for model in models if all(_paths_known(file, known) for file in model.files)
        )
        told: dict[str, Path] = {}

        def name(path: Path) -> str:
            said = wire.identified(known[path], path)
            told[said] = path
            return said

        listing = wire.pack(Listing(whole), name)
        revision = hashlib.sha256(listing).hexdigest()
        changed = revision != self.revision
        self.listing, self.revision, self._told = listing, revision, told
        return changed

    def work_of(self, body: bytes, type_: Any) -> Any:
        """An order's work with this host's own paths. Raises FileGoneError, DecodeError. Blocks."""

        def here(said: str) -> Path:
            path = self._told.get(said)
            if path is None or self._identities.of(path) != said.partition("/")[0]:
                raise FileGoneError(said.rpartition("/")[2])
            return path

        return wire.unpack(body, type_, here)


def _paths_known(file: Any, known: Mapping[Path, str]) -> bool:
    return file.path in known and (file.labels is None or file.labels in known)
