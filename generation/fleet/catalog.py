"""The models of the bot's own machine and of all hosts as one catalogue, and one for each host."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from generation.assembly import Allows
from generation.catalog import Catalog, Models
from generation.file_identity import Identities
from generation.fleet.naming import named_alike
from generation.models import ModelFile

SHOWN_EVERY: Final = 1.0
"""Seconds, during the first scan."""


class FixedCatalog(Catalog):
    """Models that somebody else has found."""

    def __init__(self, models: Sequence[ModelFile]) -> None:
        super().__init__(())
        self._models = Models(models, whole=True)
        self._ready.set()


class FleetCatalog(Catalog):
    """What people may ask for: all that is here, in `own`, and all that a host has."""

    def __init__(self, own: Catalog) -> None:
        super().__init__(())
        self.own = own
        self.version = 0
        """Another after each change."""
        self._of_hub = own._of_hub
        self._listings: dict[str, Sequence[ModelFile]] = {}
        self._hosts: Mapping[str, Catalog] = {}
        self._identities = Identities()
        self._joining = asyncio.Lock()

    def of(self, host: str) -> Catalog:
        """What a host has, by the names that people know it by."""
        return self._hosts.get(host) or FixedCatalog(())

    @property
    def hosts(self) -> Mapping[str, Catalog]:
        """Those whose models are known, also of hosts that are away."""
        return self._hosts

    async def know(self, host: str, models: Sequence[ModelFile]) -> None:
        """Learn what a host has."""
        self._listings[host] = models
        await self._join()

    async def scan(self) -> None:
        """Look again in the folders of this machine."""
        scanning = asyncio.ensure_future(self.own.scan())
        try:
            while not scanning.done():
                await asyncio.wait({scanning}, timeout=SHOWN_EVERY)
                if not self.scanned and not scanning.done():
                    await self._join()
            scanning.result()
        finally:
            scanning.cancel()
        await self._join()
        self.problems = self.own.problems
        self._ready.set()

    async def choose_by(self, allows: Allows) -> None:
        """As Catalog, for what is drawn on this machine."""
        await self.own.choose_by(allows)
        await self._join()

    async def _join(self) -> None:
        async with self._joining:
            own, listings = self.own._models, dict(self._listings)
            found, hosts = await asyncio.to_thread(self._joined, own, listings)
            if found is not None:
                self._models, self._hosts = found, hosts
                self.version += 1

    def _joined(
        self, own: Models, listings: Mapping[str, Sequence[ModelFile]]
    ) -> tuple[Models | None, Mapping[str, Catalog]]:
        """None where nothing has changed."""
        if not listings:
            return (None, {}) if own is self._models else (own, {})
        identities = self._identities.of_all(own.all)
        all_, lists = named_alike(own.all, identities, listings)
        found = Models(all_, whole=True)
        hosts = {
            host: known
            if (known := self._hosts.get(host)) is not None and known.all == models.all
            else models
            for host, models in ((name, FixedCatalog(each)) for name, each in lists.items())
        }
        unchanged = found.all == self._models.all and all(
            hosts[host] is self._hosts.get(host) for host in hosts
        )
        return (None if unchanged else found), hosts
