"""How much people have had drawn lately, as quotas count it.

What failed or was cancelled cost nobody anything; what was deleted since still counts. The database
adds up; times are fetched only for whoever is to hear when they may ask again.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    bindparam,
    func,
    literal,
    select,
    type_coerce,
    union_all,
)

from generation.job import JobState
from storage.clock import Now, machine_time
from storage.database import Database
from storage.inserting import insert_into
from storage.tables import NO_GUILD, JobRow, QuotaResetRow, SpentRow, UtcDateTime, moment

Quota = tuple[int, int | None]
"""Whose, and on which server; None is outside of all."""

_USER: Final[Any] = bindparam("user")
_GUILD: Final[Any] = bindparam("guild")
_SINCE: Final = bindparam("since", type_=UtcDateTime())
_DRAWN: Final = (JobRow.state != JobState.FAILED) & (JobRow.state != JobState.CANCELLED)
_FROM: Final = func.coalesce(
    select(QuotaResetRow.reset_at)
    .where(
        QuotaResetRow.user_id == _USER,
        QuotaResetRow.guild_id == _GUILD,
        QuotaResetRow.reset_at > _SINCE,
    )
    .scalar_subquery(),
    _SINCE,
)
"""Since when pictures count: `since`, or a later time at which a server's managers forgave all."""


def _of_one(
    what: tuple[Any, ...], spent: tuple[Any, ...], outside: bool
) -> tuple[Select[Any], ...]:
    """Of one person's jobs, and deleted ones, that count against one quota, so much."""
    here = JobRow.guild_id.is_(None) if outside else JobRow.guild_id == _GUILD
    return (
        select(*what).where(
            JobRow.user_id == _USER,
            here,
            JobRow.created_at > _FROM,
            _DRAWN,
        ),
        select(*spent).where(
            SpentRow.user_id == _USER, SpentRow.guild_id == _GUILD, SpentRow.created_at > _FROM
        ),
    )


def _count_of_one(*, outside: bool) -> Select[Any]:
    count, spent = func.sum(JobRow.image_count), func.sum(SpentRow.count)
    parts = _of_one((func.coalesce(count, 0),), (func.coalesce(spent, 0),), outside)
    jobs, deleted = (part.scalar_subquery() for part in parts)
    return select(jobs + deleted)


def _times_of_one(*, outside: bool) -> Any:
    # times are the numbers that they are kept as: a type that decodes each takes most of the time
    when, then = (type_coerce(row.created_at, BigInteger) for row in (JobRow, SpentRow))
    return union_all(*_of_one((when, JobRow.image_count), (then, SpentRow.count), outside))


_COUNT: Final = {outside: _count_of_one(outside=outside) for outside in (False, True)}
_TIMES: Final = {outside: _times_of_one(outside=outside) for outside in (False, True)}
_USERS: Final[Any] = bindparam("users", expanding=True)
_GUILDS: Final[Any] = bindparam("guilds", expanding=True)
_OUTSIDE: Final[Any] = bindparam("outside", expanding=True)
_COUNTS: Final[Any] = union_all(
    select(JobRow.user_id, JobRow.guild_id, func.sum(JobRow.image_count))
    .where(
        JobRow.user_id.in_(_USERS),
        JobRow.guild_id.in_(_GUILDS),
        JobRow.created_at > _SINCE,
        _DRAWN,
    )
    .group_by(JobRow.user_id, JobRow.guild_id),
    select(JobRow.user_id, literal(NO_GUILD), func.sum(JobRow.image_count))
    .where(
        JobRow.user_id.in_(_OUTSIDE),
        JobRow.guild_id.is_(None),
        JobRow.created_at > _SINCE,
        _DRAWN,
    )
    .group_by(JobRow.user_id),
    select(SpentRow.user_id, SpentRow.guild_id, func.sum(SpentRow.count))
    .where(
        SpentRow.user_id.in_(_USERS),
        SpentRow.guild_id.in_(_GUILDS) | (SpentRow.guild_id == NO_GUILD),
        SpentRow.created_at > _SINCE,
    )
    .group_by(SpentRow.user_id, SpentRow.guild_id),
)
"""(user, guild or NO_GUILD, number), for every quota of these people."""


def times(connection: Connection, quota: Quota, since: datetime) -> list[tuple[datetime, int]]:
    """When how many pictures were asked for that count against a quota, oldest first."""
    rows = connection.execute(_TIMES[quota[1] is None], _values(quota, since))
    return [(moment(when), count) for when, count in sorted(map(tuple, rows))]


def counts(connection: Connection, quotas: Iterable[Quota], since: datetime) -> Mapping[Quota, int]:
    """How many pictures were asked for since a time that count against each of these quotas,
    whatever was forgiven.
    """
    quotas = set(quotas)
    values = {
        "users": sorted({user for user, _ in quotas}),
        "guilds": sorted({guild for _, guild in quotas if guild is not None}),
        "outside": sorted({user for user, guild in quotas if guild is None}),
        "since": since,
    }
    found = dict.fromkeys(quotas, 0)
    for user, guild, count in connection.execute(_COUNTS, values):
        quota = (user, None if guild == NO_GUILD else guild)
        if quota in found:
            found[quota] += count
    return found


def resets(
    connection: Connection, quotas: Iterable[Quota], since: datetime
) -> Mapping[Quota, datetime]:
    """Since when quotas count anew that were reset after that time."""
    statement = select(QuotaResetRow.user_id, QuotaResetRow.guild_id, QuotaResetRow.reset_at).where(
        QuotaResetRow.user_id.in_({user for user, _ in quotas}), QuotaResetRow.reset_at > since
    )
    return {(user, guild): when for user, guild, when in connection.execute(statement)}


def _values(quota: Quota, since: datetime) -> dict[str, Any]:
    user, guild = quota
    return {"user": user, "guild": NO_GUILD if guild is None else guild, "since": since}


class UsageStore:
    """Counts for quotas."""

    def __init__(self, database: Database, now: Now = machine_time) -> None:
        self._database = database
        self._now = now

    async def reset(self, user_id: int, guild_id: int) -> None:
        """Have nothing count that somebody has asked for on a server until now."""
        when = self._now()
        row = insert_into(self._database.dialect, QuotaResetRow).values(
            user_id=user_id, guild_id=guild_id, reset_at=when
        )
        row = row.on_conflict_do_update(
            index_elements=["user_id", "guild_id"], set_={"reset_at": when}
        )
        await self._database.write(lambda connection: connection.execute(row))

    async def count_since(self, user_id: int, guild_id: int | None, since: datetime) -> int:
        """How many pictures somebody has asked for on a server, or outside of all."""
        statement, values = _COUNT[guild_id is None], _values((user_id, guild_id), since)
        return await self._database.read(
            lambda connection: int(connection.execute(statement, values).scalar_one())
        )

    async def pictures_since(
        self, user_id: int, guild_id: int | None, since: datetime
    ) -> list[tuple[datetime, int]]:
        """When somebody asked for how many of them, oldest first."""
        return await self._database.read(
            lambda connection: times(connection, (user_id, guild_id), since)
        )
