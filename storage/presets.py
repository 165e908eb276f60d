"""The presets of servers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rapidfuzz import process
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.preset import Preset
from generation.refusal import Refused
from storage.tables import PresetRow, StartedGuildRow

PRESETS_MAX = 200
"""On one server."""


class PresetStore:
    """Presets by server and name; the case of a name does not matter."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._started: set[int] = set()

    async def all_of(self, guild_id: int) -> list[Preset]:
        """A server's presets by name."""
        async with self._database.connect() as connection:
            return await self._list(connection, guild_id)

    async def get(self, guild_id: int, name: str) -> Preset:
        """The preset of that name. Raises Refused with the nearest names."""
        found = await self.all_of(guild_id)
        for preset in found:
            if preset.name.casefold() == name.casefold():
                return preset
        names = [preset.name for preset in found]
        nearest = ", ".join(match[0] for match in process.extract(name, names, limit=3))
        raise Refused("preset_unknown", name=name[:50], nearest=nearest or "—")

    async def check_free(self, guild_id: int, name: str) -> None:
        """Refuse a name that is taken."""
        if any(p.name.casefold() == name.casefold() for p in await self.all_of(guild_id)):
            raise Refused("preset_taken", name=name[:50])

    async def write(self, guild_id: int, preset: Preset, *, was: str | None = None) -> None:
        """Keep a new preset, or one that was changed, perhaps renamed, from the name `was`.

        Raises Refused when the name is another preset's.
        """
        async with self._database.begin() as connection:
            if was is not None:
                await self._delete(connection, guild_id, was)
            await self._insert(connection, guild_id, [preset])

    async def put_many(
        self, guild_id: int, presets: Sequence[Preset], *, replace: bool = False
    ) -> None:
        """Keep all of these presets, or none: Refused when a name is taken and not replaced."""
        async with self._database.begin() as connection:
            if replace:
                for preset in presets:
                    await self._delete(connection, guild_id, preset.name)
            await self._insert(connection, guild_id, presets)

    async def delete(self, guild_id: int, name: str) -> None:
        """Delete a preset; one that is not there is no error."""
        async with self._database.begin() as connection:
            await self._delete(connection, guild_id, name)

    async def ensure_starters(self, guild_id: int, presets: Sequence[Preset]) -> None:
        """Give a server its first presets, once: one that deletes them all has none."""
        if guild_id in self._started:
            return
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(StartedGuildRow).values(guild_id=guild_id))
                if not await self._list(connection, guild_id):
                    await self._insert(connection, guild_id, presets)
        except IntegrityError:
            pass  # given before
        self._started.add(guild_id)

    async def _list(self, connection: AsyncConnection, guild_id: int) -> list[Preset]:
        statement = (
            select(PresetRow.preset).where(PresetRow.guild_id == guild_id).order_by(PresetRow.key)
        )
        return list((await connection.execute(statement)).scalars())

    async def _delete(self, connection: AsyncConnection, guild_id: int, name: str) -> None:
        await connection.execute(
            delete(PresetRow).where(
                PresetRow.guild_id == guild_id, PresetRow.key == name.casefold()
            )
        )

    async def _insert(
        self, connection: AsyncConnection, guild_id: int, presets: Sequence[Preset]
    ) -> None:
        there = {preset.name.casefold() for preset in await self._list(connection, guild_id)}
        if len(there) + len(presets) > PRESETS_MAX:
            raise Refused("presets_too_many", high=PRESETS_MAX)
        now = datetime.now(UTC)
        for preset in presets:
            key = preset.name.casefold()
            if key in there:
                raise Refused("preset_taken", name=preset.name)
            there.add(key)
            row = insert(PresetRow).values(
                guild_id=guild_id, key=key, preset=preset, created_at=now
            )
            try:
                await connection.execute(row)
            except IntegrityError:  # somebody took the name meanwhile
                raise Refused("preset_taken", name=preset.name) from None
