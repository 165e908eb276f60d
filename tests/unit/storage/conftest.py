from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from storage.database import Database, open_database
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from storage.store import Store
from tests.databases import ON_SERVER, fresh_database


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of SQLite's own files are left out where a server is tested."""
    for item in items:
        if ON_SERVER and "sqlite" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="about a SQLite file"))


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_database(tmp_path) as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = await open_database(url)
    yield database
    await database.dispose()


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement and COMMIT from now on, whichever connection it is of."""
    seen: list[str] = []

    def execute(_c: object, _u: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    def commit(_connection: object) -> None:
        seen.append("COMMIT")

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", commit)
    yield seen
    event.remove(Engine, "before_cursor_execute", execute)
    event.remove(Engine, "commit", commit)


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Store:
    return Store(database, PictureFiles(tmp_path / "pictures"))


@pytest.fixture
def jobs(database: Database, tmp_path: Path) -> JobStore:
    return JobStore(database, PictureFiles(tmp_path / "pictures"))
