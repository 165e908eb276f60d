"""The presets of servers, and the defaults that name them."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.preset import Preset
from storage.inserting import insert_into
from storage.presets import PresetStore, find_preset, key_of
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


class GuildPresetStore(PresetStore):
    """Presets by server and name."""

    scope: ClassVar[Scope] = "guild"
    most = PRESETS_MAX
    too_many = "presets_too_many"

    def __init__(self, database: AsyncEngine, settings: SettingsStore) -> None:
        super().__init__(database, settings)
        self._started: set[int] = set()

    async def set_default(
        self,
        guild_id: int,
        name: str | None,
        *,
        channel_id: int | None = None,
        is_new: Callable[[GuildSettings], bool] = lambda _now: True,
    ) -> GuildSettings:
        """Make a preset the default of a server, or of one of its channels; None takes it away.

        Nothing changes where `is_new` says so of what is set now. Raises Refused where there is
        none of that name, and what `is_new` raises.
        """

        def change(now: GuildSettings) -> GuildSettings:
            if not is_new(now):
                return now
            named = None if name is None else find_preset(there, name).name
            if channel_id is None:
                return msgspec.structs.replace(now, default_preset=named)
            channels = {c: n for c, n in now.channel_presets.items() if c != channel_id}
            if named is not None:
                channels[channel_id] = named
            return msgspec.structs.replace(now, channel_presets=channels)

        async with self._database.begin() as connection:
            there = await self._held(connection, guild_id)
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
            there = await self._held(connection, guild_id)

            def checked(now: GuildSettings) -> GuildSettings:
                new = change(now)
                for channel, name in new.channel_presets.items():
                    if now.channel_presets.get(channel) != name:
                        find_preset(there, name)
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
            there = await self._held(connection, guild_id)
            named = None if name is None else find_preset(there, name).name
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
            there = await self._held(connection, guild_id)
            new = (await connection.execute(first)).first() is not None
            if new and not there:
                await self._insert(connection, guild_id, presets, there)
        self._started.add(guild_id)

    async def _carry_defaults(
        self, connection: AsyncConnection, owner_id: int, names: Mapping[str, str | None]
    ) -> list[tuple[Scope, int]]:
        return await _carry_defaults(connection, owner_id, names)


async def _carry_defaults(
    connection: AsyncConnection, guild_id: int, names: Mapping[str, str | None]
) -> list[tuple[Scope, int]]:
    """Let every default that names one of these keys name what it is called now, or nothing.

    Returns the settings that were changed.
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
        return []
    # of old settings nobody knows the server, but where no other has the name it is this one
    elsewhere = select(PresetRow.key).where(
        PresetRow.scope == "guild",
        PresetRow.key.in_(list(names)),
        PresetRow.owner_id != guild_id,
        PresetRow.deleted_at.is_(None),
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
