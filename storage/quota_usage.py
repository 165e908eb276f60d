"""How much people have had drawn lately."""

from datetime import datetime

from storage.database import Database
from storage.intake import USED, whose


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
        of_theirs = whose([(user_id, guild_id)], since)
        return await self._database.read(
            lambda connection: sorted(
                (when, int(count))
                for _, guild, when, count in connection.execute(USED, of_theirs)
                if guild == guild_id
            )
        )
