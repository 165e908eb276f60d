"""People's own presets, which hold wherever they are."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.preset import Preset
from generation.refusal import Refused
from storage.presets import find_preset, key_of
from storage.settings import PersonSettings, SettingsStore, change_row
from storage.tables import OwnPresetRow

OWN_MAX = 50
"""Of one person."""


class OwnPresetStore:
    """Presets by person and name; the case of a name does not matter.

    Whoever writes somebody's presets holds the row of their settings, so others that write them
    wait.
    """

    def __init__(self, database: AsyncEngine, settings: SettingsStore) -> None:
        self._database = database
        self._settings = settings

    async def all_of(self, user_id: int) -> list[Preset]:
        """A person's presets by name."""
        async with self._database.connect() as connection:
            return await _all_of(connection, user_id)

    async def get(self, user_id: int, name: str) -> Preset:
        """The preset of that name. Raises Refused with the nearest names."""
        return find_preset(await self.all_of(user_id), name)

    async def find(self, user_id: int, name: str) -> Preset | None:
        """The preset of that name, if there is one."""
        found = (p for p in await self.all_of(user_id) if key_of(p.name) == key_of(name))
        return next(found, None)

    async def add(self, user_id: int, preset: Preset) -> None:
        """Keep a new preset. Raises Refused where its name is taken, or there are too many."""

        def added(presets: list[Preset]) -> list[Preset]:
            return [*presets, preset]

        await self._write(user_id, added, {})

    async def change(self, user_id: int, name: str, change: Callable[[Preset], Preset]) -> Preset:
        """Change a preset, perhaps its name, by a function of what it is now. Raises Refused."""
        changed: list[Preset] = []
        renamed: dict[str, str | None] = {}

        def with_change(presets: list[Preset]) -> list[Preset]:
            now = find_preset(presets, name)
            changed.append(change(now))
            renamed[key_of(now.name)] = changed[0].name
            return [changed[0] if preset is now else preset for preset in presets]

        await self._write(user_id, with_change, renamed)
        return changed[0]

    async def delete(self, user_id: int, name: str) -> None:
        """Delete a preset, and be it the default. Raises Refused where there is none."""

        def without(presets: list[Preset]) -> list[Preset]:
            gone = find_preset(presets, name)
            return [preset for preset in presets if preset is not gone]

        await self._write(user_id, without, {key_of(name): None})

    async def set_default(self, user_id: int, name: str | None) -> str | None:
        """Make one the default wherever they are; None takes it away. Raises Refused."""
        named = None if name is None else (await self.get(user_id, name)).name
        await self._settings.change_person(user_id, own_preset=named)
        return named

    async def _write(
        self,
        user_id: int,
        change: Callable[[list[Preset]], list[Preset]],
        names: dict[str, str | None],
    ) -> None:
        async with self._database.begin() as connection:
            # held first, so that what is read is still so when it is written
            await change_row(connection, "person", user_id, PersonSettings, lambda now: now)
            presets = change(await _all_of(connection, user_id))
            _check(presets)
            await connection.execute(delete(OwnPresetRow).where(OwnPresetRow.user_id == user_id))
            for preset in presets:
                row = insert(OwnPresetRow).values(
                    user_id=user_id,
                    key=key_of(preset.name),
                    preset=preset,
                    created_at=datetime.now(UTC),
                )
                await connection.execute(row)

            def carried(now: PersonSettings) -> PersonSettings:
                default = now.own_preset
                if default is None or key_of(default) not in names:
                    return now
                return msgspec.structs.replace(now, own_preset=names[key_of(default)])

            await change_row(connection, "person", user_id, PersonSettings, carried)
        self._settings.forget([("person", user_id)])


def _check(presets: Sequence[Preset]) -> None:
    seen = set()
    for preset in presets:
        if key_of(preset.name) in seen:
            raise Refused("preset_taken", name=preset.name)
        seen.add(key_of(preset.name))
    if len(presets) > OWN_MAX:
        raise Refused("own_presets_too_many", high=OWN_MAX)


async def _all_of(connection: AsyncConnection, user_id: int) -> list[Preset]:
    statement = select(OwnPresetRow.preset).where(OwnPresetRow.user_id == user_id)
    return list((await connection.execute(statement.order_by(OwnPresetRow.key))).scalars())
