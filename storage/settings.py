"""What servers and people have set."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.refusal import Refused
from generation.request_fields import FileFormat, Name, Quality
from generation.rules import Waiting
from storage import records
from storage.inserting import insert_into
from storage.records import RecordText, RecordUnreadableError
from storage.tables import NoticeRow, SettingsRow

log = structlog.get_logger(__name__)

Number = Annotated[int, Meta(ge=1, le=100_000)]
KeptDays = Annotated[int, Meta(ge=1, le=36_500)]
Weight = Annotated[float, Meta(ge=0.1, le=10)]
PHRASES_MAX = 500
"""Entries of a blocklist."""
PEOPLE_MAX = 500
UnsafePictures = Literal["off", "blur", "block", "restricted", "hold", "hold_all"]
"""What becomes of pictures that the check finds unsafe: `restricted` ones are shown in
age-restricted channels alone; `hold` waits for a moderator's approval, and `hold_all` does with
every picture, so that it needs no check."""
HELD: Final = frozenset(("hold", "hold_all"))
"""Those that ask in the audit channel."""
UNCHECKED: Final = frozenset(("off", "hold_all"))
"""Those that look at no picture."""
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
    waiting: Waiting | None = None
    """Jobs of one person that wait or run at once; the bot's owner says how many at most."""
    waiting_by_role: dict[int, Waiting] = {}
    weight_by_role: dict[int, Weight] = {}
    """Share of the turns of this server's members; 1 for those without such a role."""
    age_restricted: bool = False
    blocklist: Annotated[
        tuple[Annotated[str, Meta(max_length=500)], ...], Meta(max_length=PHRASES_MAX)
    ] = ()
    blocked: Annotated[tuple[int, ...], Meta(max_length=PEOPLE_MAX)] = ()
    """People who may ask for nothing here."""
    reserved: dict[int, tuple[Name, ...]] = {}
    """By role the checkpoints and LoRAs that it may draw with, and those without a role that has
    them may not."""
    picture_check: UnsafePictures = "off"
    spoiler: bool = False
    keep_pictures: KeptDays | None = None
    """Days for which pictures are kept; the bot's owner says how many at most."""
    keep_prompts: KeptDays | None = None
    """Days for which whole requests are kept, as above."""
    format: FileFormat | None = None
    """Of the files that pictures become where nobody says; None for what the bot's owner says."""
    quality: Quality | None = None
    audit_channel: int | None = None
    language: str | None = None


class ElsewhereSettings(GuildSettings, frozen=True, kw_only=True):
    """What holds in direct messages, and on servers where the bot is no member."""

    enabled: bool = True
    """Whether pictures may be asked for there."""


class PersonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one person, everywhere."""

    default_preset: str | None = None
    default_preset_guild: int | None = None
    """The server whose preset was chosen; None where that is not known."""
    own_preset: str | None = None
    """Their own preset that holds wherever they name none."""
    private: bool = False
    ping: bool = False
    """Whether they are mentioned when a request of theirs is done."""
    format: FileFormat | None = None
    """Of their files where they name none; None for what holds where they are."""
    language: str | None = None


Settings = TypeVar("Settings", GuildSettings, PersonSettings)
Scope = Literal["guild", "person"]
SettingsKey = tuple[Scope, int]
"""Whose settings: a server's or a person's, by its id."""


class SettingsStore:
    """Settings by server and by person, and what people have been told already.

    They are kept at hand, for every interaction asks for two of them.
    """

    def __init__(self, database: AsyncEngine, elsewhere: ElsewhereSettings | None = None) -> None:
        self._database = database
        self._elsewhere = elsewhere or ElsewhereSettings()
        self._cached: dict[tuple[Scope, int], GuildSettings | PersonSettings] = {}
        self._changes = 0
        """Goes up with every change: what was read before one is not kept after it."""
        self._listeners: list[Callable[[tuple[SettingsKey, ...]], None]] = []

    async def guild(self, guild_id: int | None) -> GuildSettings:
        """A server's settings; those for elsewhere where there is no server."""
        if guild_id is None:
            return self._elsewhere
        return await self._get("guild", guild_id, GuildSettings)

    async def person(self, user_id: int) -> PersonSettings:
        """A person's settings."""
        return await self._get("person", user_id, PersonSettings)

    async def change_guild(
        self,
        guild_id: int,
        change: Callable[[GuildSettings], GuildSettings] | None = None,
        /,
        **values: Any,
    ) -> GuildSettings:
        """Change a server's settings: by a function of what is set now, or to these values.

        What others set meanwhile is in what the function gets. Raises Refused for values out of
        bounds.
        """
        return await self._change("guild", guild_id, GuildSettings, change, values)

    async def change_person(
        self,
        user_id: int,
        change: Callable[[PersonSettings], PersonSettings] | None = None,
        /,
        **values: Any,
    ) -> PersonSettings:
        """Change a person's settings, as `change_guild` does a server's."""
        return await self._change("person", user_id, PersonSettings, change, values)

    async def noticed(self, user_id: int, what: str) -> bool:
        """Whether somebody has been told `what`."""
        row = select(NoticeRow.user_id).where(
            NoticeRow.user_id == user_id, NoticeRow.what == what[:100]
        )
        async with self._database.connect() as connection:
            return (await connection.execute(row)).first() is not None

    async def notice(self, user_id: int, what: str) -> bool:
        """Note that somebody has been told `what`; False where that was noted before."""
        row = insert_into(self._database.dialect, NoticeRow).values(
            user_id=user_id, what=what[:100], created_at=datetime.now(UTC)
        )
        new = row.on_conflict_do_nothing().returning(NoticeRow.user_id)
        async with self._database.begin() as connection:
            return (await connection.execute(new)).first() is not None

    async def _get(self, scope: Scope, id_: int, type_: type[Settings]) -> Settings:
        cached = self._cached.get((scope, id_))
        if isinstance(cached, type_):
            return cached
        before = self._changes
        kept = records.text_of(SettingsRow.values, self._database.dialect)
        statement = select(kept).where(*_row(scope, id_))
        async with self._database.connect() as connection:
            text = (await connection.execute(statement)).scalar_one_or_none()
        found, why = (type_(), None) if text is None else _read(text, type_)
        if why is not None:
            log.error("settings can't be read", scope=scope, id=id_, error=why)
        if before == self._changes:
            if len(self._cached) >= CACHED_MAX:
                self._cached.clear()
            self._cached[scope, id_] = found
        return found

    async def _change(
        self,
        scope: Scope,
        id_: int,
        type_: type[Settings],
        change: Callable[[Settings], Settings] | None,
        values: dict[str, Any],
    ) -> Settings:
        def changed(now: Settings) -> Settings:
            return _with(now if change is None else change(now), values)

        async with self._database.begin() as connection:
            now = await change_row(connection, scope, id_, type_, changed)
        self.forget([(scope, id_)])
        return now

    def listen(self, listener: Callable[[tuple[SettingsKey, ...]], None]) -> None:
        """Have `listener` told of whose settings this process has changed or deleted."""
        self._listeners.append(listener)

    def forget(self, rows: Iterable[SettingsKey]) -> None:
        """Drop what is kept at hand of rows that were changed or deleted."""
        changed = tuple(rows)
        self.drop(changed)
        for listener in self._listeners:
            listener(changed)

    def drop(self, rows: Iterable[SettingsKey] | None = None) -> None:
        """Drop what is kept at hand of rows that others have changed; of all without `rows`."""
        self._changes += 1
        for row in list(self._cached) if rows is None else rows:
            self._cached.pop(row, None)


async def change_row(
    connection: AsyncConnection,
    scope: Scope,
    id_: int,
    type_: type[Settings],
    change: Callable[[Settings], Settings],
) -> Settings:
    """Change a row within a transaction, with all others kept from it until that ends.

    One that can't be read stays until something in it changes; then the log has it as it was.
    Raises Refused for values out of bounds.
    """
    # there must be a row to lock
    empty = insert_into(connection.dialect, SettingsRow).values(scope=scope, id=id_, values="{}")
    await connection.execute(empty.on_conflict_do_nothing())
    kept = records.text_of(SettingsRow.values, connection.dialect)
    locked = select(kept).where(*_row(scope, id_)).with_for_update()
    text = (await connection.execute(locked)).scalar_one()
    now, why = _read(text, type_)
    changed = _with(change(now), {})
    if changed == now:
        return changed
    if why is not None:
        was = records.shown(text)
        log.warning("settings that can't be read are replaced", scope=scope, id=id_, was=was)
    await connection.execute(
        update(SettingsRow)
        .where(*_row(scope, id_))
        .values(values=msgspec.json.encode(changed).decode())
    )
    return changed


async def people_with_default_preset(
    connection: AsyncConnection,
) -> list[tuple[int, PersonSettings]]:
    """Everybody who has a preset as their own default, by id."""
    statement = (
        select(SettingsRow.id, records.text_of(SettingsRow.values, connection.dialect))
        .where(SettingsRow.scope == "person", SettingsRow.values.contains('"default_preset":"'))
        .order_by(SettingsRow.id)
    )
    return [
        (user_id, _read(text, PersonSettings)[0])
        for user_id, text in await connection.execute(statement)
    ]


def _read(text: RecordText, type_: type[Settings]) -> tuple[Settings, str | None]:
    """Settings, and why they can't be read: then what can be of them, and the defaults."""
    try:
        return records.decoded(text, type_), None
    except RecordUnreadableError as error:
        return type_(**records.readable_fields(text, type_)), str(error)


def _row(scope: Scope, id_: int) -> tuple[Any, ...]:
    return (SettingsRow.scope == scope, SettingsRow.id == id_)


def _with(now: Settings, values: dict[str, Any]) -> Settings:
    """Settings with some values set. Raises Refused where one is out of bounds."""
    both = msgspec.to_builtins(now, str_keys=True) | msgspec.to_builtins(values, str_keys=True)
    try:
        return msgspec.convert(both, type(now), strict=False)
    except msgspec.ValidationError as error:
        raise Refused("setting_wrong", why=str(error)) from None
