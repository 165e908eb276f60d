"""People's own presets, which hold wherever they are."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.presets import PresetStore, find_preset, key_of
from storage.settings import PersonSettings, Scope, change_row

OWN_MAX = 50
"""Of one person."""


class OwnPresetStore(PresetStore):
    """Presets by person and name."""

    scope: ClassVar[Scope] = "person"
    most = OWN_MAX
    too_many = "own_presets_too_many"

    async def set_default(self, user_id: int, name: str | None) -> str | None:
        """Make one the default wherever they are; None takes it away. Raises Refused."""
        async with self._database.begin() as connection:
            there = await self._held(connection, user_id)
            named = None if name is None else find_preset(there, name).name
            await change_row(
                connection,
                "person",
                user_id,
                PersonSettings,
                lambda now: msgspec.structs.replace(now, own_preset=named),
            )
        self._settings.forget([("person", user_id)])
        return named

    async def _carry_defaults(
        self, connection: AsyncConnection, owner_id: int, names: Mapping[str, str | None]
    ) -> list[tuple[Scope, int]]:
        def carried(now: PersonSettings) -> PersonSettings:
            key = key_of(now.own_preset or "")
            if key not in names:
                return now
            return msgspec.structs.replace(now, own_preset=names[key])

        await change_row(connection, "person", owner_id, PersonSettings, carried)
        return [("person", owner_id)]
