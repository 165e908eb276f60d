"""How much people have had drawn lately."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, select, type_coerce, union_all

from generation.job import JobState
from storage.database import Database
from storage.intake import SINCE
from storage.tables import NO_GUILD, JobRow, SpentRow, moment

_USER: Final[Any] = bindparam("user")
_GUILD: Final[Any] = bindparam("guild")


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
            JobRow.state.not_in((JobState.FAILED, JobState.CANCELLED)),
        ),
        select(type_coerce(SpentRow.created_at, BigInteger), SpentRow.count).where(
            SpentRow.user_id == _USER, spent_where, SpentRow.created_at > SINCE
        ),
    )


_ON_A_SERVER: Final = _used(JobRow.guild_id == _GUILD, SpentRow.guild_id == _GUILD)
_OUTSIDE: Final = _used(JobRow.guild_id.is_(None), SpentRow.guild_id == NO_GUILD)


class UsageStore:
    """Counts for quotas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pictures_since(
        self, user_id: int, guild_id: int | None, since: datetime
    ) -> list[tuple[datetime, int]]:
        """When somebody asked for how many pictures on a server, or outside of all, oldest first.

        What failed or was cancelled cost them nothing; what was deleted since still counts.
        """
        values = {"user": user_id, "since": since}
        statement = _OUTSIDE
        if guild_id is not None:
            statement, values = _ON_A_SERVER, values | {"guild": guild_id}
        used = await self._database.read(
            lambda connection: sorted(map(tuple, connection.execute(statement, values)))
        )
        return [(moment(when), count) for when, count in used]
