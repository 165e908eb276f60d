"""The presets of servers, and the defaults that name them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.name_search import nearest
from generation.preset import Preset
from generation.refusal import Refused
from storage.inserting import insert_into
from storage.settings import (
    GuildSettings,
    PersonSettings,
    Scope,
    SettingsStore,
    change_row,
    people_with_default_preset,
)
from storage.tables import PresetRow, StartedGuildRow

PRESETS_MAX = 200
"""On one server."""
KEY_MAX = 100
"""Characters of a name in folded case, which may be longer than the name."""


class PresetStore:
    """Presets by server and name; the case of a name does not matter.

    Whoever writes the presets or defaults of a server holds the row of its settings, so others
    that write them wait.
    """

    def __init__(self, database: AsyncEngine, settings: SettingsStore) -> None:
        self._database = database
        self._settings = settings
        self._started: set[int] = set()

    async def all_of(self, guild_id: int) -> list[Preset]:
        """A server's presets by name."""
        async with self._database.connect() as connection:
            return await _all_of(connection, guild_id)

    async def get(self, guild_id: int, name: str) -> Preset:
        """The preset of that name. Raises Refused with the nearest names."""
        return find_preset(await self.all_of(guild_id), name)

    async def check_free(self, guild_id: int, name: str) -> None:
        """Refuse a name that is taken."""
        if any(key_of(preset.name) == key_of(name) for preset in await self.all_of(guild_id)):
            raise Refused("preset_taken", name=name[:50])

    async def write(self, guild_id: int, preset: Preset, *, was: str | None = None) -> None:
        """Keep a new preset, or one that was changed, perhaps renamed, from the name `was`.

        Whatever named it as a default goes with its name. Raises Refused when the name is another
        preset's.
        """
        names = {} if was is None else {key_of(was): preset.name}
        async with self._database.begin() as connection:
            changed = await _carry_defaults(connection, guild_id, names)
            if was is not None:
                await _delete(connection, guild_id, [was])
            await _insert(connection, guild_id, [preset])
        self._settings.forget(changed)

    async def change(self, guild_id: int, name: str, change: Callable[[Preset], Preset]) -> Preset:
        """Change a preset, perhaps its name, by a function of what it is now.

        Raises Refused where there is none of that name, or the new one is another preset's.
        """
        async with self._database.begin() as connection:
            await _hold(connection, guild_id)
            now = find_preset(await _all_of(connection, guild_id), name)
            new = change(now)
            changed = await _carry_defaults(connection, guild_id, {key_of(now.name): new.name})
            await _delete(connection, guild_id, [now.name])
            await _insert(connection, guild_id, [new])
        self._settings.forget(changed)
        return new

    async def put_many(
        self, guild_id: int, presets: Sequence[Preset], *, replace: bool = False
    ) -> None:
        """Keep all of these presets, or none: Refused when a name is taken and not replaced."""
        names = {key_of(preset.name): preset.name for preset in presets} if replace else {}
        async with self._database.begin() as connection:
            changed = await _carry_defaults(connection, guild_id, names)
            await _delete(connection, guild_id, names.values())
            await _insert(connection, guild_id, presets)
        self._settings.forget(changed)

    async def delete(self, guild_id: int, name: str) -> None:
        """Delete a preset, and be it anybody's default; one that is not there is no error."""
        async with self._database.begin() as connection:
            changed = await _carry_defaults(connection, guild_id, {key_of(name): None})
            await _delete(connection, guild_id, [name])
        self._settings.forget(changed)

    async def set_default(
        self, guild_id: int, name: str | None, *, channel_id: int | None = None
    ) -> GuildSettings:
        """Make a preset the default of a server, or of one of its channels; None takes it away.

        Raises Refused where there is none of that name.
        """

        def change(now: GuildSettings) -> GuildSettings:
            if channel_id is None:
                return msgspec.structs.replace(now, default_preset=named)
            channels = {c: n for c, n in now.channel_presets.items() if c != channel_id}
            if named is not None:
                channels[channel_id] = named
            return msgspec.structs.replace(now, channel_presets=channels)

        async with self._database.begin() as connection:
            await _hold(connection, guild_id)
            named = await self._name(connection, guild_id, name)
            changed = await change_row(connection, "guild", guild_id, GuildSettings, change)
        self._settings.forget([("guild", guild_id)])
        return changed

    async def change_channels(
        self, guild_id: int, change: Callable[[GuildSettings], GuildSettings]
    ) -> GuildSettings:
        """Change which presets are the defaults of channels.

        Raises Refused for a new one where there is no preset of that name.
        """

        async with self._database.begin() as connection:
            await _hold(connection, guild_id)
            presets = await _all_of(connection, guild_id)

            def checked(now: GuildSettings) -> GuildSettings:
                new = change(now)
                for channel, name in new.channel_presets.items():
                    if now.channel_presets.get(channel) != name:
                        find_preset(presets, name)
                return new

            changed = await change_row(connection, "guild", guild_id, GuildSettings, checked)
        self._settings.forget([("guild", guild_id)])
        return changed

    async def set_own_default(
        self, user_id: int, guild_id: int, name: str | None
    ) -> PersonSettings:
        """Make a server's preset a person's own default; None takes it away.

        Raises Refused where there is none of that name.
        """
        async with self._database.begin() as connection:
            await _hold(connection, guild_id)
            named = await self._name(connection, guild_id, name)
            changed = await change_row(
                connection,
                "person",
                user_id,
                PersonSettings,
                lambda now: msgspec.structs.replace(
                    now,
                    default_preset=named,
                    default_preset_guild=None if named is None else guild_id,
                ),
            )
        self._settings.forget([("person", user_id)])
        return changed

    async def ensure_starters(self, guild_id: int, presets: Sequence[Preset] | None) -> None:
        """Give a server its first presets, once: one that deletes them all has none.

        None while it is not known which: then another time.
        """
        if presets is None or guild_id in self._started:
            return
        row = insert_into(self._database.dialect, StartedGuildRow).values(guild_id=guild_id)
        first = row.on_conflict_do_nothing().returning(StartedGuildRow.guild_id)
        async with self._database.begin() as connection:
            await _hold(connection, guild_id)
            new = (await connection.execute(first)).first() is not None
            if new and not await _all_of(connection, guild_id):
                await _insert(connection, guild_id, presets)
        self._started.add(guild_id)

    async def _name(
        self, connection: AsyncConnection, guild_id: int, name: str | None
    ) -> str | None:
        """The name as it is written in the preset."""
        return None if name is None else find_preset(await _all_of(connection, guild_id), name).name


def key_of(name: str) -> str:
    """What a preset is found by."""
    return name.casefold()[:KEY_MAX]


def find_preset(presets: Sequence[Preset], name: str) -> Preset:
    """The preset of that name. Raises Refused with the nearest names."""
    for preset in presets:
        if key_of(preset.name) == key_of(name):
            return preset
    names = [preset.name for preset in presets]
    alike = ", ".join(nearest(name, names, 3))
    raise Refused("preset_unknown", name=name[:50], nearest=alike or "—")


async def _all_of(connection: AsyncConnection, guild_id: int) -> list[Preset]:
    statement = (
        select(PresetRow.preset).where(PresetRow.guild_id == guild_id).order_by(PresetRow.key)
    )
    return list((await connection.execute(statement)).scalars())


async def _hold(connection: AsyncConnection, guild_id: int) -> None:
    """Keep others from the presets and defaults of a server until the transaction ends."""
    await change_row(connection, "guild", guild_id, GuildSettings, lambda now: now)


async def _delete(connection: AsyncConnection, guild_id: int, names: Iterable[str]) -> None:
    keys = [key_of(name) for name in names]
    await connection.execute(
        delete(PresetRow).where(PresetRow.guild_id == guild_id, PresetRow.key.in_(keys))
    )


async def _insert(connection: AsyncConnection, guild_id: int, presets: Sequence[Preset]) -> None:
    there = {key_of(preset.name) for preset in await _all_of(connection, guild_id)}
    if len(there) + len(presets) > PRESETS_MAX:
        raise Refused("presets_too_many", high=PRESETS_MAX)
    now = datetime.now(UTC)
    for preset in presets:
        key = key_of(preset.name)
        if key in there:
            raise Refused("preset_taken", name=preset.name)
        there.add(key)
        await connection.execute(
            insert(PresetRow).values(guild_id=guild_id, key=key, preset=preset, created_at=now)
        )


async def _carry_defaults(
    connection: AsyncConnection, guild_id: int, names: Mapping[str, str | None]
) -> list[tuple[Scope, int]]:
    """Let every default that names one of these keys name what it is called now, or nothing.

    Returns the settings that were changed. Holds the server as `_hold` does.
    """

    def carried(name: str | None) -> str | None:
        return name if name is None else names.get(key_of(name), name)

    def of_guild(now: GuildSettings) -> GuildSettings:
        channels = {c: carried(name) for c, name in now.channel_presets.items()}
        return msgspec.structs.replace(
            now,
            default_preset=carried(now.default_preset),
            channel_presets={c: name for c, name in channels.items() if name is not None},
        )

    await change_row(connection, "guild", guild_id, GuildSettings, of_guild)
    if not names:
        return [("guild", guild_id)]
    # of old settings nobody knows the server, but where no other has the name it is this one
    elsewhere = select(PresetRow.key).where(
        PresetRow.key.in_(list(names)), PresetRow.guild_id != guild_id
    )
    ambiguous = set((await connection.execute(elsewhere)).scalars())

    def is_here(own: PersonSettings) -> bool:
        key = key_of(own.default_preset or "")
        if own.default_preset_guild is None:
            return key in names and key not in ambiguous
        return key in names and own.default_preset_guild == guild_id

    def of_person(now: PersonSettings) -> PersonSettings:
        if not is_here(now):
            return now  # changed meanwhile
        named = carried(now.default_preset)
        guild = None if named is None else now.default_preset_guild
        return msgspec.structs.replace(now, default_preset=named, default_preset_guild=guild)

    everybody = await people_with_default_preset(connection)
    people = [user_id for user_id, own in everybody if is_here(own)]
    for user_id in people:
        await change_row(connection, "person", user_id, PersonSettings, of_person)
    return [("guild", guild_id), *(("person", user_id) for user_id in people)]
