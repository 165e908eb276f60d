"""How much people have had drawn lately."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, func, select, type_coerce, union_all

from generation.job import JobState
from storage.clock import Now, machine_time
from storage.database import Database
from storage.inserting import insert_into
from storage.intake import SINCE
from storage.tables import NO_GUILD, JobRow, QuotaResetRow, SpentRow, moment

_USER: Final[Any] = bindparam("user")
_GUILD: Final[Any] = bindparam("guild")
_COUNTED_FROM: Final[Any] = func.coalesce(
    select(type_coerce(QuotaResetRow.reset_at, BigInteger))
    .where(QuotaResetRow.user_id == _USER, QuotaResetRow.guild_id == _GUILD)
    .scalar_subquery(),
    0,
)
"""Since when a server's managers have all count."""


def _used(where: Any, spent_where: Any) -> Any:
    """One person's use of one quota, as intake.USED has everybody's of a batch. Times are the
    numbers that they are kept as: somebody's day can have hundreds of jobs, and a type that
    decodes each takes most of the question's time.
    """
    return union_all(
        select(type_coerce(JobRow.created_at, BigInteger), JobRow.image_count).where(
            JobRow.user_id == _USER,
            where,
            JobRow.created_at > SINCE,
            type_coerce(JobRow.created_at, BigInteger) > _COUNTED_FROM,
            JobRow.state.not_in((JobState.FAILED, JobState.CANCELLED)),
        ),
        select(type_coerce(SpentRow.created_at, BigInteger), SpentRow.count).where(
            SpentRow.user_id == _USER,
            spent_where,
            SpentRow.created_at > SINCE,
            type_coerce(SpentRow.created_at, BigInteger) > _COUNTED_FROM,
        ),
    )


_ON_A_SERVER: Final = _used(JobRow.guild_id == _GUILD, SpentRow.guild_id == _GUILD)
_OUTSIDE: Final = _used(JobRow.guild_id.is_(None), SpentRow.guild_id == NO_GUILD)


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

    async def pictures_since(
        self, user_id: int, guild_id: int | None, since: datetime
    ) -> list[tuple[datetime, int]]:
        """When somebody asked for how many pictures on a server, or outside of all, oldest first.

        What failed or was cancelled cost them nothing; what was deleted since still counts.
        """
        guild = NO_GUILD if guild_id is None else guild_id
        values = {"user": user_id, "guild": guild, "since": since}
        statement = _OUTSIDE if guild_id is None else _ON_A_SERVER
        used = await self._database.read(
            lambda connection: sorted(map(tuple, connection.execute(statement, values)))
        )
        return [(moment(when), count) for when, count in used]
