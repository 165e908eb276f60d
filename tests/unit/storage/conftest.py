from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[JobStore]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    yield JobStore(database, PictureFiles(tmp_path / "pictures"))
    await database.dispose()
