"""What servers and people have set."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.refusal import Refused
from storage.tables import NoticeRow, SettingsRow

Number = Annotated[int, Meta(ge=1, le=100_000)]
Weight = Annotated[float, Meta(ge=0.1, le=10)]
CACHED_MAX = 10_000
"""Servers and people whose settings are kept at hand."""


class GuildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds on one server. Ids are Discord's."""

    default_preset: str | None = None
    channel_presets: dict[int, str] = {}
    channels: tuple[int, ...] = ()
    """Where pictures may be asked for; everywhere where there are none."""
    press: Literal["anyone", "owner"] = "anyone"
    """Who may press the buttons under a picture, and react to it."""
    quota: Number | None = None
    """Pictures of one person a day."""
    quota_by_role: dict[int, Number] = {}
    waiting: Number | None = None
    """Jobs of one person that wait or run at once."""
    waiting_by_role: dict[int, Number] = {}
    weight_by_role: dict[int, Weight] = {}
    """Share of the queue's turns; 1 for those without such a role."""
    age_restricted: bool = False
    blocklist: Annotated[
        tuple[Annotated[str, Meta(max_length=500)], ...], Meta(max_length=500)
    ] = ()
    picture_check: Literal["off", "blur", "block"] = "off"
    spoiler: bool = False
    audit_channel: int | None = None
    language: str | None = None


class PersonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one person, everywhere."""

    default_preset: str | None = None
    private: bool = False
    language: str | None = None


Settings = TypeVar("Settings", GuildSettings, PersonSettings)


class SettingsStore:
    """Settings by server and by person, and what people have been told already.

    They are kept at hand, for every interaction asks for two of them.
    """

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._cached: dict[tuple[str, int], GuildSettings | PersonSettings] = {}
        # two changes at once must both hold, and no old value may be kept at hand after a change
        self._alone = asyncio.Lock()

    async def guild(self, guild_id: int) -> GuildSettings:
        """A server's settings."""
        return await self._get("guild", guild_id, GuildSettings)

    async def person(self, user_id: int) -> PersonSettings:
        """A person's settings."""
        return await self._get("person", user_id, PersonSettings)

    async def change_guild(self, guild_id: int, **changes: Any) -> GuildSettings:
        """Set some of a server's settings. Raises Refused for values out of bounds."""
        return await self._change("guild", guild_id, GuildSettings, changes)

    async def change_person(self, user_id: int, **changes: Any) -> PersonSettings:
        """Set some of a person's settings. Raises Refused for values out of bounds."""
        return await self._change("person", user_id, PersonSettings, changes)

    async def notice(self, user_id: int, what: str) -> bool:
        """Note that somebody is told `what`; False where they have been told before."""
        try:
            async with self._database.begin() as connection:
                await connection.execute(
                    NoticeRow.__table__.insert().values(  # type: ignore[attr-defined]
                        user_id=user_id, what=what[:100], created_at=datetime.now(UTC)
                    )
                )
        except IntegrityError:
            return False
        return True

    async def _get(self, scope: str, id_: int, type_: type[Settings]) -> Settings:
        cached = self._cached.get((scope, id_))
        if isinstance(cached, type_):
            return cached
        async with self._alone:
            async with self._database.connect() as connection:
                found = await self._read(connection, scope, id_, type_)
            self._keep(scope, id_, found)
        return found

    async def _change(
        self, scope: str, id_: int, type_: type[Settings], changes: dict[str, Any]
    ) -> Settings:
        async with self._alone:
            self._cached.pop((scope, id_), None)
            async with self._database.begin() as connection:
                now = await self._read(connection, scope, id_, type_)
                changed = _changed(now, type_, changes)
                here = (SettingsRow.scope == scope, SettingsRow.id == id_)
                await connection.execute(delete(SettingsRow).where(*here))
                await connection.execute(
                    SettingsRow.__table__.insert().values(  # type: ignore[attr-defined]
                        scope=scope, id=id_, values=msgspec.json.encode(changed).decode()
                    )
                )
            self._keep(scope, id_, changed)
        return changed

    async def _read(
        self, connection: AsyncConnection, scope: str, id_: int, type_: type[Settings]
    ) -> Settings:
        statement = select(SettingsRow.values).where(
            SettingsRow.scope == scope, SettingsRow.id == id_
        )
        values = (await connection.execute(statement)).scalar_one_or_none()
        return type_() if values is None else msgspec.json.decode(values, type=type_)

    def _keep(self, scope: str, id_: int, settings: GuildSettings | PersonSettings) -> None:
        if len(self._cached) >= CACHED_MAX:
            self._cached.clear()
        self._cached[scope, id_] = settings

    async def forget(self, user_id: int) -> None:
        """Drop what is kept at hand of a person whose data was deleted."""
        async with self._alone:
            self._cached.pop(("person", user_id), None)


def _changed(now: Settings, type_: type[Settings], changes: dict[str, Any]) -> Settings:
    values = msgspec.to_builtins(now, str_keys=True) | msgspec.to_builtins(changes, str_keys=True)
    try:
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("setting_wrong", why=str(error)) from None
