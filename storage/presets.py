"""Presets by whose they are and name; the case of a name does not matter.

A preset has a number that is its own for good, by which requests know the one that they were made
with. Of one that was deleted its name and roles are kept while there are such requests: they stay
bound to the roles, and a new preset of that name takes its place. A server's is kept a while
without them too: a request that is being checked may have chosen it already.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import msgspec
import structlog
from sqlalchemy import Exists, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.name_search import nearest
from generation.preset import Preset
from generation.refusal import Refused
from storage import records
from storage.records import RecordText, RecordUnreadableError
from storage.settings import GuildSettings, PersonSettings, Scope, SettingsStore, change_row
from storage.tables import JobRow, PresetRow

log = structlog.get_logger(__name__)

UNUSED_KEPT_FOR = timedelta(days=1)
"""A server's deleted preset that no request was made with; far longer than checking one takes."""
KEY_MAX = 100
"""Characters of a name in folded case, which may be longer than the name."""


class KeptPreset(msgspec.Struct, frozen=True):
    """A preset and its number."""

    id: int
    preset: Preset

    @property
    def name(self) -> str:
        """What it is called."""
        return self.preset.name

    def is_called(self, which: str | int) -> bool:
        """Whether that is its name, whatever the case, or its number."""
        return which == self.id if isinstance(which, int) else key_of(which) == key_of(self.name)


class PresetStore:
    """The presets of servers, or those of people: a class of it names which.

    Whoever writes the presets or defaults of a server or a person holds the row of their settings,
    so others that write them wait.
    """

    scope: ClassVar[Scope]
    most: ClassVar[int]
    """Presets of one server or person, and what is said of more."""
    too_many: ClassVar[str]

    def __init__(self, database: AsyncEngine, settings: SettingsStore) -> None:
        self._database = database
        self._settings = settings
        self._unreadable: set[int] = set()
        """Those of which the log has said so."""

    async def all_of(self, owner_id: int) -> list[Preset]:
        """A server's or a person's presets by name."""
        async with self._database.connect() as connection:
            return [kept.preset for kept in await self._all_of(connection, owner_id)]

    async def get(self, owner_id: int, name: str) -> Preset:
        """The preset of that name. Raises Refused with the nearest names."""
        return (await self.kept(owner_id, name)).preset

    async def kept(self, owner_id: int, name: str) -> KeptPreset:
        """The preset of that name with its number. Raises Refused with the nearest names."""
        async with self._database.connect() as connection:
            return find_preset(await self._all_of(connection, owner_id), name)

    async def find(self, owner_id: int, which: str | int) -> KeptPreset | None:
        """The preset of that name or number, if there is one."""
        async with self._database.connect() as connection:
            there = await self._all_of(connection, owner_id)
        return next((kept for kept in there if kept.is_called(which)), None)

    async def used(self, owner_id: int, preset_id: int) -> Preset | None:
        """The preset of that number, whatever it is called now; of a deleted one name and roles."""
        kept = records.text_of(PresetRow.preset, self._database.dialect)
        statement = select(PresetRow.key, kept).where(
            PresetRow.id == preset_id,
            PresetRow.scope == self.scope,
            PresetRow.owner_id == owner_id,
        )
        async with self._database.connect() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else self._readable(preset_id, row[1]) or _remainder(*row)

    async def write(self, owner_id: int, preset: Preset, *, was: str | None = None) -> None:
        """Keep a new preset, or one that was changed, perhaps renamed, from the name `was`.

        Whatever named it as a default goes with its name. Raises Refused when the name is another
        preset's, or there are too many.
        """
        names = {} if was is None else {key_of(was): preset.name}
        async with self._database.begin() as connection:
            there = await self._held(connection, owner_id)
            changed = await self._carry_defaults(connection, owner_id, names)
            before = next((kept for kept in there if key_of(kept.name) == key_of(was or "")), None)
            if before is None:
                await self._insert(connection, owner_id, [preset], there)
            else:
                await self._renew(connection, owner_id, before, preset, there)
        self._settings.forget(changed)

    async def change(
        self, owner_id: int, which: str | int, change: Callable[[Preset], Preset]
    ) -> KeptPreset:
        """Change a preset, perhaps its name, by a function of what it is now.

        Raises Refused where there is none of that name or number, or the new name is another's.
        """
        async with self._database.begin() as connection:
            there = await self._held(connection, owner_id)
            before = find_preset(there, which) if isinstance(which, str) else _of(there, which)
            new = change(before.preset)
            names = {key_of(before.name): new.name}
            changed = await self._carry_defaults(connection, owner_id, names)
            await self._renew(connection, owner_id, before, new, there)
        self._settings.forget(changed)
        return KeptPreset(before.id, new)

    async def put_many(
        self, owner_id: int, presets: Sequence[Preset], *, replace: bool = False
    ) -> None:
        """Keep all of these presets, or none: Refused when a name is taken and not replaced."""
        names = {key_of(preset.name): preset.name for preset in presets} if replace else {}
        async with self._database.begin() as connection:
            there = await self._held(connection, owner_id)
            changed = await self._carry_defaults(connection, owner_id, names)
            replaced = {key_of(kept.name): kept for kept in there} if replace else {}
            new = []
            for preset in presets:
                # each once: a second of the same name is refused as one that is taken
                before = replaced.pop(key_of(preset.name), None)
                if before is None:
                    new.append(preset)
                else:
                    await self._renew(connection, owner_id, before, preset, there)
            await self._insert(connection, owner_id, new, there)
        self._settings.forget(changed)

    async def delete(self, owner_id: int, name: str) -> None:
        """Delete a preset, and be it anybody's default; one that is not there is no error."""
        async with self._database.begin() as connection:
            there = await self._held(connection, owner_id)
            changed = await self._carry_defaults(connection, owner_id, {key_of(name): None})
            for kept in there:
                if key_of(kept.name) == key_of(name):
                    await self._bury(connection, owner_id, kept)
            await self._clear(connection, owner_id, key_of(name))
        self._settings.forget(changed)

    def _live(self, owner_id: int) -> Any:
        kept = records.text_of(PresetRow.preset, self._database.dialect)
        return select(PresetRow.id, kept).where(
            PresetRow.scope == self.scope,
            PresetRow.owner_id == owner_id,
            PresetRow.deleted_at.is_(None),
        )

    async def _all_of(self, connection: AsyncConnection, owner_id: int) -> list[KeptPreset]:
        rows = await connection.execute(self._live(owner_id).order_by(PresetRow.key))
        read = [(number, self._readable(number, text)) for number, text in rows]
        return [KeptPreset(number, preset) for number, preset in read if preset is not None]

    def _readable(self, number: int, text: RecordText) -> Preset | None:
        try:
            return records.decoded(text, Preset)
        except RecordUnreadableError as error:
            if number not in self._unreadable:
                self._unreadable.add(number)
                log.error("a preset can't be read", preset=number, error=str(error))
            return None

    async def _clear(self, connection: AsyncConnection, owner_id: int, key: str) -> None:
        """Delete the preset of that key which can't be read; the log has it as it was.

        Its pictures stay bound to the roles that can be read of it.
        """
        rows = await connection.execute(self._live(owner_id).where(PresetRow.key == key))
        for number, text in rows.all():
            was = records.shown(text)
            log.warning("a preset that can't be read is gone", preset=number, was=was)
            await self._bury(connection, owner_id, KeptPreset(number, _remainder(key, text)))

    async def _held(self, connection: AsyncConnection, owner_id: int) -> list[KeptPreset]:
        """All that are there; others are kept from them and the defaults until the transaction
        ends.
        """
        if self.scope == "guild":
            await change_row(connection, "guild", owner_id, GuildSettings, lambda now: now)
        else:
            await change_row(connection, "person", owner_id, PersonSettings, lambda now: now)
        return await self._all_of(connection, owner_id)

    async def _carry_defaults(
        self, connection: AsyncConnection, owner_id: int, names: Mapping[str, str | None]
    ) -> list[tuple[Scope, int]]:
        """Let every default that names one of these keys name what it is called now, or nothing.

        Returns the settings that may have changed.
        """
        raise NotImplementedError

    async def _renew(
        self,
        connection: AsyncConnection,
        owner_id: int,
        before: KeptPreset,
        preset: Preset,
        there: Sequence[KeptPreset],
    ) -> None:
        key = key_of(preset.name)
        if any(key_of(kept.name) == key for kept in there if kept.id != before.id):
            raise Refused("preset_taken", name=preset.name)
        if key != key_of(before.name):
            await self._clear(connection, owner_id, key)
        row = update(PresetRow).where(PresetRow.id == before.id)
        await connection.execute(row.values(key=key, preset=preset))

    async def _insert(
        self,
        connection: AsyncConnection,
        owner_id: int,
        presets: Sequence[Preset],
        there: Sequence[KeptPreset],
    ) -> None:
        taken = {key_of(kept.name) for kept in there}
        for preset in presets:
            key = key_of(preset.name)
            if key in taken:
                raise Refused("preset_taken", name=preset.name)
            taken.add(key)
        if presets and len(taken) > self.most:
            raise Refused(self.too_many, high=self.most)
        for preset in presets:
            key = key_of(preset.name)
            await self._clear(connection, owner_id, key)
            row = {"preset": preset, "created_at": datetime.now(UTC), "deleted_at": None}
            before = (
                select(PresetRow.id)
                .where(
                    PresetRow.scope == self.scope,
                    PresetRow.owner_id == owner_id,
                    PresetRow.key == key,
                    PresetRow.deleted_at.is_not(None),
                )
                .order_by(_made_with().desc(), PresetRow.deleted_at.desc(), PresetRow.id.desc())
                .limit(1)
            )
            revived = (await connection.execute(before)).scalar_one_or_none()
            if revived is not None:
                await connection.execute(
                    update(PresetRow).where(PresetRow.id == revived).values(row)
                )
                continue
            await connection.execute(
                insert(PresetRow).values(scope=self.scope, owner_id=owner_id, key=key, **row)
            )

    async def _bury(self, connection: AsyncConnection, owner_id: int, kept: KeptPreset) -> None:
        """Leave of a preset its name and roles, and nothing of those that bind no request."""
        now = datetime.now(UTC)
        left = Preset(name=kept.name, roles=kept.preset.roles)
        row = update(PresetRow).where(PresetRow.id == kept.id)
        await connection.execute(row.values(preset=left, deleted_at=now))
        # a person's own binds nobody
        until = now - UNUSED_KEPT_FOR if self.scope == "guild" else now
        unused = delete(PresetRow).where(
            PresetRow.scope == self.scope,
            PresetRow.owner_id == owner_id,
            PresetRow.deleted_at <= until,
            ~_made_with(),
        )
        await connection.execute(unused)


def _made_with() -> Exists:
    """Whether there are requests that a preset holds for."""
    return exists().where(JobRow.preset_id == PresetRow.id)


def _remainder(key: str, text: RecordText) -> Preset:
    """Of a preset that can't be read, what holds for those who draw with it again."""
    found = records.readable_fields(text, Preset)
    return Preset(name=found.get("name", key), roles=found.get("roles", ()))


def _of(presets: Sequence[KeptPreset], number: int) -> KeptPreset:
    for kept in presets:
        if kept.id == number:
            return kept
    raise Refused("preset_gone")


def key_of(name: str) -> str:
    """What a preset is found by."""
    return name.casefold()[:KEY_MAX]


Named = TypeVar("Named", Preset, KeptPreset)


def find_preset(presets: Sequence[Named], name: str) -> Named:
    """The preset of that name. Raises Refused with the nearest names."""
    for preset in presets:
        if key_of(preset.name) == key_of(name):
            return preset
    names = [preset.name for preset in presets]
    alike = ", ".join(nearest(name, names, 3))
    raise Refused("preset_unknown", name=name[:50], nearest=alike or "—")
