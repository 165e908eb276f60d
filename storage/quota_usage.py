"""How much people have had drawn lately."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.intake import used_since


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
        async with self._database.connect() as connection:
            found = [
                (when, int(count))
                for statement in used_since([user_id], [guild_id], since)
                for _, _, when, count in await connection.execute(statement)
            ]
        return sorted(found)
