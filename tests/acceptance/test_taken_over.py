"""What one process of several has taken over from another that was silent for long."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import update

from bot.config import Config
from generation.job import JobState
from playground.control import Control
from playground.person import Person
from storage.errors import DatabaseBusyError
from storage.tables import JobRow
from tests.acceptance.conftest import Rig
from tests.patience import PATIENCE


@pytest.fixture
def config(config: Config) -> Config:
    storage = msgspec.structs.replace(config.storage, process="a")
    return msgspec.structs.replace(config, storage=storage)


async def given_to(rig: Rig, process: str) -> None:
    async with rig.studio.jobs._database.begin() as connection:
        await connection.execute(update(JobRow).values(process=process))


async def pictures(ada: Person, channel: str) -> list[str]:
    return [m["id"] for m in await ada.messages(channel) if m["attachments"]]


async def test_who_was_asleep_does_not_deliver_what_another_took(
    rig: Rig, ada: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    await (await ada.command(general, "imagine", prompt="a red fox")).deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    stale = await rig.job(1)
    await given_to(rig, "b")
    gate.set()
    ended = await rig.until(lambda job: job.ended)
    # it hears of it as of its own
    rig.studio.workers.tell(msgspec.structs.replace(ended, process=stale.process))
    async with asyncio.timeout(PATIENCE):
        while len(rig.client.services.delivery):
            await asyncio.sleep(0.02)
    assert await pictures(ada, general) == []
    assert (await rig.job(1)).delivered_at is None


async def test_what_the_other_had_posted_is_not_posted_again(
    rig: Rig, ada: Person, general: str, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped before it could note the message, which Discord knows by no nonce any more."""
    jobs = rig.studio.jobs
    gate = rig.engine.gate = asyncio.Event()
    await (await ada.command(general, "imagine", prompt="a red fox")).deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    # nothing of a token that has died can be edited
    await control.clock(16 * 60)
    rig.studio.clock.observe(datetime.now(UTC) + timedelta(minutes=16))

    async def unnoted(*_: object, **__: object) -> bool:
        raise DatabaseBusyError("busy")

    monkeypatch.setattr(jobs, "add_message", unnoted)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        while not await pictures(ada, general):
            await asyncio.sleep(0.02)
    await given_to(rig, "b")
    await rig.restart()
    await control.forget_nonces()
    await given_to(rig, "a")
    # as one that was started before it was asked for
    rig.client.services.delivery._before = 0
    await rig.client.services.delivery.take_up([1])
    await rig.until(lambda job: job.delivered_at is not None)
    assert len(await pictures(ada, general)) == 1
