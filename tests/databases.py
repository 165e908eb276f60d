"""The database of one test: a SQLite file, or one of its own on the server that is named."""

import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from storage.database import sqlite_url
from tests.postgres import VARIABLE

ON_SERVER: Final = VARIABLE in os.environ
"""Whether the tests run on a database server, not on files."""


@contextlib.asynccontextmanager
async def fresh_database(folder: Path) -> AsyncIterator[str]:
    """The URL of an empty database, gone after the block."""
    server = os.environ.get(VARIABLE)
    if server is None:
        yield sqlite_url(folder / "test.sqlite3")
        return
    import asyncpg

    url = make_url(server)
    name = f"test_{uuid.uuid4().hex}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()
