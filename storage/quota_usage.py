"""How much people have had drawn lately."""

from datetime import datetime

from storage.database import Database
from storage.intake import USED


class UsageStore:
    """Counts for quotas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pictures_since(
        self, user_id: int, guild_id: int, since: datetime
    ) -> list[tuple[datetime, int]]:
        """When somebody asked for how many pictures on a server, oldest first.

        What failed or was cancelled cost them nothing; what was deleted since still counts.
        """
        whose = {"users": [user_id], "guilds": [guild_id], "since": since}
        return await self._database.read(
            lambda connection: sorted(
                (when, int(count)) for _, _, when, count in connection.execute(USED, whose)
            )
        )
