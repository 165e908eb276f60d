"""The migrations lead to the tables that the code declares, whole or not at all."""

import asyncio

from alembic import command

from storage.database import migrate
from storage.schema import alembic_config


async def test_they_lead_to_the_declared_tables(url: str) -> None:
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(command.check, alembic_config(url))
