from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    yield database
    await database.dispose()


@pytest.fixture
def jobs(database: AsyncEngine, tmp_path: Path) -> JobStore:
    return JobStore(database, PictureFiles(tmp_path / "pictures"))
