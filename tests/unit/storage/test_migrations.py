"""The migrations lead to the tables that the code declares, and back."""

import asyncio
import sqlite3
from pathlib import Path

from alembic import command

from storage.database import alembic_config, migrate, sqlite_url


def tables(file: Path) -> set[str]:
    connection = sqlite3.connect(file)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return names


async def test_up_and_down_and_up(tmp_path: Path) -> None:
    file = tmp_path / "test.sqlite3"
    url = sqlite_url(file)
    await asyncio.to_thread(migrate, url)
    assert {"jobs", "pictures", "messages"} <= tables(file)
    await asyncio.to_thread(command.downgrade, alembic_config(url), "base")
    assert "jobs" not in tables(file)
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(command.check, alembic_config(url))
