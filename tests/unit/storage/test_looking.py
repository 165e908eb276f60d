"""A database that is only looked at is answered from, and left as it was."""

from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from storage.database import open_database, open_read_only
from storage.errors import DatabaseError
from storage.history import Query
from storage.pictures import PictureFiles
from storage.store import Store
from storage.tables import NoticeRow
from tests.fixtures.requests import a_request, an_origin

pytestmark = pytest.mark.sqlite


async def test_questions_leave_no_trace(url: str, tmp_path: Path) -> None:
    database = await open_database(url)
    store = Store(database, PictureFiles(tmp_path / "pictures"))
    await store.jobs.add(a_request(), an_origin())
    await database.dispose()
    before = {path: path.read_bytes() for path in tmp_path.glob("test.sqlite3*")}
    assert len(before) == 1
    looked_at = await open_read_only(url)
    store = Store(looked_at, PictureFiles(tmp_path / "pictures"))
    assert len(await store.jobs.waiting()) == 1
    assert await store.jobs.count_waiting(1) == 1
    assert (await store.history.page(1, Query(search="lighthouse"))).jobs == ()
    with pytest.raises((DatabaseError, DBAPIError)):
        await looked_at.write(lambda c: c.execute(insert(NoticeRow).values(user_id=1, what="x")))
    await looked_at.dispose()
    assert {path: path.read_bytes() for path in tmp_path.glob("test.sqlite3*")} == before
