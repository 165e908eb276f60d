"""The connection: SQLite in WAL mode, or any other SQLAlchemy async URL."""

import asyncio
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite database in this file."""
    return f"sqlite+aiosqlite:///{file.as_posix()}"


async def open_database(url: str) -> AsyncEngine:
    """Migrate the database to the newest schema and open it."""
    await asyncio.to_thread(migrate, url)
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


def migrate(url: str) -> None:
    """Bring the schema up to date; blocks, and runs an event loop of its own."""
    command.upgrade(alembic_config(url), "head")


def alembic_config(url: str) -> AlembicConfig:
    """Alembic's configuration for this database."""
    config = AlembicConfig()
    config.set_main_option("script_location", MIGRATIONS.as_posix())
    config.attributes["url"] = make_url(url)
    return config


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # every accepted request must outlive a power cut, so not NORMAL
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()
