"""What processes tell each other through PostgreSQL, and what holds over all of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from generation.messages import Progress
from storage.database import Database, open_database
from storage.intake import AskingLimits, LimitReachedError
from storage.notices import CancelAsked, JobMoved, Missed, Notice, Notices, SettingsChanged
from storage.pictures import PictureFiles
from storage.store import Store
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not ON_SERVER, reason="about a database server")


@pytest.fixture
async def another(url: str) -> AsyncIterator[Database]:
    """The connections of another process."""
    database = await open_database(url)
    yield database
    await database.dispose()


class Listener:
    """What one process hears."""

    def __init__(self, notices: Notices) -> None:
        self.heard: list[Notice] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._listen(notices))

    async def _listen(self, notices: Notices) -> None:
        async for notice in notices.listen():
            self.heard.append(notice)
            self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_others_hear_and_oneself_does_not(database: Database, another: Database) -> None:
    one, two = Notices(database, "one"), Notices(another, "two")
    ours, theirs = Listener(one), Listener(two)
    await ours.until(1)
    await theirs.until(1)
    told: list[Notice] = [
        SettingsChanged((("guild", 10**18), ("person", 7))),
        JobMoved("two", 5, Progress("5", "denoising", 2, 20)),
        JobMoved("two", 5),
        CancelAsked(5),
    ]
    for notice in told:
        await one.send(notice)
    await two.send(CancelAsked(6))
    await theirs.until(5)
    await ours.until(2)
    assert theirs.heard == [Missed(), *told]
    assert ours.heard == [Missed(), CancelAsked(6)]
    await ours.stop()
    await theirs.stop()


async def test_a_lost_connection_is_made_again_and_said(
    database: Database, another: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.notices.LISTEN_AGAIN_AFTER", 0.05)
    one = Notices(database, "one")
    theirs = Listener(Notices(another, "two"))
    await theirs.until(1)
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%LISTEN%'"
    )
    await database.write(lambda connection: connection.execute(others))
    await theirs.until(2)
    await one.send(CancelAsked(1))
    await theirs.until(3)
    assert theirs.heard == [Missed(), Missed(), CancelAsked(1)]
    await theirs.stop()


async def test_what_is_no_notice_is_passed_over(database: Database, another: Database) -> None:
    theirs = Listener(Notices(another, "two"))
    await theirs.until(1)
    for payload in ("", "{}", '{"sender": "one", "notice": {"type": "Unheard"}}'):
        tell = text("SELECT pg_notify('darkroom', :payload)").bindparams(payload=payload)
        async with database.begin() as connection:
            await connection.execute(tell)
    await Notices(database, "one").send(CancelAsked(1))
    await theirs.until(2)
    assert theirs.heard == [Missed(), CancelAsked(1)]
    await theirs.stop()


async def test_quotas_hold_over_two_processes(
    database: Database, another: Database, tmp_path: Path
) -> None:
    """Each asks at the same time, again and again: no more is accepted than one may have."""
    files = PictureFiles(tmp_path / "pictures")
    stores = [Store(database, files, process="one"), Store(another, files, process="two")]
    limits = AskingLimits(waiting=100, pictures=10)

    async def ask(store: Store) -> int:
        try:
            await store.jobs.add(a_request(count=1), an_origin(7), limits=limits)
        except LimitReachedError:
            return 0
        return 1

    accepted = 0
    for _ in range(12):
        accepted += sum(await asyncio.gather(*(ask(store) for store in stores)))
    assert accepted == 10
