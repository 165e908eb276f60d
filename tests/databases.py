"""The database of one test: a SQLite file, or one of its own on the server that is named.

The schema is made once a process and copied then.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import make_url

from storage.database import migrate, sqlite_url
from tests.postgres import VARIABLE

SERVER: Final = os.environ.get(VARIABLE)
ON_SERVER: Final = SERVER is not None
"""Whether the tests run on a database server, not on files."""
TEMPLATE: Final = f"template_{uuid.uuid4().hex}"


@contextlib.asynccontextmanager
async def fresh_database(folder: Path, *, migrated: bool = True) -> AsyncIterator[str]:
    """The URL of a database with the newest schema, or an empty one; gone after the block."""
    if SERVER is None:
        file = folder / "test.sqlite3"
        if migrated:
            shutil.copyfile(await asyncio.to_thread(_template_file), file)
        yield sqlite_url(file)
        return
    if migrated:
        await asyncio.to_thread(_template_database)
    name = f"test_{uuid.uuid4().hex}"
    await _on_server(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE if migrated else 'template1'}")
    try:
        yield _url_of(name)
    finally:
        await _on_server(f"DROP DATABASE {name} WITH (FORCE)")


@functools.cache
def _template_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="darkroom-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrate(sqlite_url(folder / "template.sqlite3"))
    return folder / "template.sqlite3"


@functools.cache
def _template_database() -> None:
    asyncio.run(_on_server(f"CREATE DATABASE {TEMPLATE}"))
    migrate(_url_of(TEMPLATE))
    atexit.register(lambda: asyncio.run(_on_server(f"DROP DATABASE {TEMPLATE}")))


def _url_of(database: str) -> str:
    assert SERVER is not None
    return make_url(SERVER).set(database=database).render_as_string(hide_password=False)


async def _on_server(statement: str) -> Any:
    import asyncpg

    assert SERVER is not None
    plain = make_url(SERVER).set(drivername="postgresql")
    connection = await asyncpg.connect(plain.render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
