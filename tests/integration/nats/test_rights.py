"""The rights on NATS that docs/workers.md gives the bot and its hosts: enough, and no more."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from generation.messaging import wire
from generation.messaging.connection import NatsError, connected
from generation.messaging.settings import NatsSettings
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.integration.nats.conftest import Stage
from tests.integration.nats.test_hosts import (
    test_a_bot_that_ended_leaves_its_hosts_to_the_next,
    test_a_cancelled_job_stops_on_its_host,
    test_a_host_draws_and_is_heard_while_it_does,
    test_a_host_that_is_started_anew_goes_on_with_its_order,
    test_a_machine_with_several_cards_is_several_workers,
    test_a_server_that_has_lost_all_is_told_anew,
    test_an_upload_goes_to_the_host,
    test_while_nats_is_away_work_goes_on_and_nothing_is_lost,
)
from tests.nats_server import NatsServer, running

__all__ = [
    "test_a_bot_that_ended_leaves_its_hosts_to_the_next",
    "test_a_cancelled_job_stops_on_its_host",
    "test_a_host_draws_and_is_heard_while_it_does",
    "test_a_host_that_is_started_anew_goes_on_with_its_order",
    "test_a_machine_with_several_cards_is_several_workers",
    "test_a_server_that_has_lost_all_is_told_anew",
    "test_an_upload_goes_to_the_host",
    "test_while_nats_is_away_work_goes_on_and_nothing_is_lost",
]
PAGE: Final = Path(__file__).parents[3] / "docs" / "workers.md"
VIOLATION: Final = "Violation"
TRIED: Final = re.compile(r"STREAM\.(CREATE|PURGE\.OBJ_darkroom_pictures)")
"""What is gone a host tries to make, and tidies up after a picture that could not be laid there: it
goes on without.
"""


def rights() -> str:
    """What the page has, with passwords."""
    [block] = re.findall(r"```\n# nats-server\.conf\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return re.sub(r'user: "(\w+)", password: "…"', r'user: "\1", password: "\1"', block)


@contextlib.asynccontextmanager
async def met(nats_server: NatsServer) -> AsyncIterator[None]:
    """The bot has made what all meet in."""
    settings = NatsSettings(url=nats_server.url, user="bot", password="bot")
    async with connected(settings, "the bot", inbox=wire.BOT) as connection:
        await connection.prepare()
        yield


def of_workers(text: str, *names: str) -> str:
    """The same where the machine called attic has several workers, as the page says."""

    def named(found: re.Match[str]) -> str:
        subject = found[0]
        if "attic" not in subject or subject.startswith('"_INBOX'):
            return subject
        return ", ".join(subject.replace("attic", name) for name in names)

    before, machine, after = re.split(r"(?m)^(?=ATTIC = |authorization )", text)
    return before + re.sub(r'"[^"]+"', named, machine) + after


@pytest.fixture
def nats_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    several = "several_cards" in request.node.name
    text = of_workers(rights(), "attic1", "attic2") if several else rights()
    with running(tmp_path / "nats", text) as server:
        yield server


@pytest.fixture
async def stage(
    nats_server: NatsServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """As that of other tests, where all that is done is allowed."""
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    made = Stage(nats_server, tmp_path, JobStore(database, PictureFiles(tmp_path / "pictures")))
    made.users = True
    async with met(nats_server):
        pass
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.dispose)
        stack.push_async_callback(made.close)
        yield made
    log = (nats_server.folder / "log.txt").read_text().splitlines()
    refused = [line for line in log if VIOLATION in line]
    if "lost_all" in request.node.name:
        refused = [line for line in refused if not TRIED.search(line)]
    assert refused == []


OWN: Final = ("darkroom.results.s.o", "darkroom.progress.s.o", "darkroom.wanted.s")
ORDERS: Final = (
    *("darkroom.jobs.attic", "darkroom.jobs.cellar", "darkroom.control.attic"),
    *("$KV.darkroom_hosts.cellar", "$KV.darkroom_drivers.attic"),
    *("$JS.API.STREAM.CREATE.darkroom_jobs", "$JS.API.STREAM.DELETE.darkroom_jobs"),
    *("$JS.API.STREAM.UPDATE.darkroom_jobs", "$JS.API.STREAM.PURGE.darkroom_jobs"),
    *("$JS.API.STREAM.MSG.GET.darkroom_jobs", "$JS.API.STREAM.MSG.GET.darkroom_results"),
    "$JS.API.CONSUMER.CREATE.darkroom_jobs.host-attic.darkroom.jobs.cellar",
    "$JS.API.CONSUMER.CREATE.darkroom_jobs.host-cellar.darkroom.jobs.cellar",
    *("$JS.API.CONSUMER.CREATE.darkroom_jobs", "$JS.API.CONSUMER.CREATE.darkroom_results"),
    "$JS.API.CONSUMER.DURABLE.CREATE.darkroom_jobs.host-attic",
    "$JS.API.CONSUMER.MSG.NEXT.darkroom_jobs.host-cellar",
    "$JS.ACK.darkroom_jobs.host-cellar.1.1.1.1.0",
)
OTHERS: Final = (
    *(">", "darkroom.>", "darkroom.jobs.attic", "darkroom.jobs.cellar", "darkroom.control.cellar"),
    *("darkroom.control.*", "darkroom.results.>", "darkroom.progress.>", "darkroom.wanted.*"),
    *("_INBOX.>", "_INBOX.bot.>", "_INBOX.cellar.>", "$KV.>", "$O.darkroom_pictures.>"),
)


async def test_a_host_gives_no_orders_and_hears_nothing_of_others(
    nats_server: NatsServer,
) -> None:
    import nats

    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    async with met(nats_server):
        options: dict[str, Any] = {"user": "attic", "password": "attic", "error_cb": on_error}
        client = await nats.connect(nats_server.url, inbox_prefix="_INBOX.attic", **options)

        async def is_refused(what: str) -> bool:
            # what the server says of it comes before its answer to this
            await client.flush()
            await asyncio.sleep(0.02)
            found, refused[:] = list(refused), []
            return any(what.lower() in each for each in found)

        for subject in OWN:
            await client.publish(subject, b"")
            assert not await is_refused(subject), subject
        for subject in ORDERS:
            await client.publish(subject, b"{}")
            assert await is_refused(f'publish to "{subject}"'), subject
        for subject in OTHERS:
            await client.subscribe(subject)
            assert await is_refused(f'subscription to "{subject}"'), subject
        await client.close()


@pytest.mark.parametrize("user", ["", "bot"])
async def test_nobody_else_gets_in(nats_server: NatsServer, user: str) -> None:
    settings = NatsSettings(url=nats_server.url, user=user, password=user and "guessed")
    with pytest.raises(NatsError, match="can't be used"):
        async with connected(settings, "a test", waits=False):
            pass
