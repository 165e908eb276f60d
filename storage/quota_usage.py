"""How much people have had drawn lately."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from generation.job import JobState
from storage.tables import JobRow, SpentRow


class UsageStore:
    """Counts for quotas."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def pictures_since(
        self, user_id: int, guild_id: int, since: datetime
    ) -> list[tuple[datetime, int]]:
        """When somebody asked for how many pictures on a server, oldest first.

        What failed or was cancelled cost them nothing; what was deleted since still counts.
        """
        statement = select(JobRow.created_at, JobRow.request).where(
            JobRow.user_id == user_id,
            JobRow.guild_id == guild_id,
            JobRow.created_at > since,
            JobRow.state.not_in((JobState.FAILED, JobState.CANCELLED)),
        )
        deleted = select(SpentRow.created_at, SpentRow.count).where(
            SpentRow.user_id == user_id,
            SpentRow.guild_id == guild_id,
            SpentRow.created_at > since,
        )
        async with self._database.connect() as connection:
            found = [(when, request.count) for when, request in await connection.execute(statement)]
            found += [(when, count) for when, count in await connection.execute(deleted)]
        return sorted(found)
