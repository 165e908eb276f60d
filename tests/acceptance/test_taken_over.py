"""What one process of several has taken over from another that was silent for long."""

import asyncio

import msgspec
import pytest
from sqlalchemy import update

from bot.config import Config
from generation.job import JobState
from playground.control import Control
from playground.person import Person
from storage.errors import DatabaseBusyError
from storage.tables import JobRow
from tests.acceptance.conftest import Rig, finished
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
    act = await ada.command(general, "imagine", prompt="a red fox")
    first = await finished(ada, general, await act.deferred())
    await rig.until(lambda job: job.delivered_at is not None)

    async def unnoted(*_: object, **__: object) -> bool:
        raise DatabaseBusyError("busy")

    monkeypatch.setattr(rig.studio.jobs, "add_message", unnoted)
    # what a reaction asks for is posted anew, and edits no answer
    await ada.react(first, "🔁")
    async with asyncio.timeout(PATIENCE):
        while len(await pictures(ada, general)) < 2:
            await asyncio.sleep(0.02)
    await given_to(rig, "b")
    await rig.restart()
    await control.forget_nonces()
    await given_to(rig, "a")
    # as one that was started before it was asked for
    rig.client.services.delivery._before = 0
    await rig.client.services.delivery.take_up([2])
    await rig.until(lambda job: job.delivered_at is not None, 2)
    assert len(await pictures(ada, general)) == 2


async def test_the_only_process_delivers_what_several_have_left(
    rig: Rig, ada: Person, general: str
) -> None:
    """Where there were several, and is one now."""
    gate = rig.engine.gate = asyncio.Event()
    for prompt in ("a red fox", "a blue fox"):
        await (await ada.command(general, "imagine", prompt=prompt)).deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    await rig.stop()
    gate.set()
    storage = msgspec.structs.replace(rig.config.storage, process="")
    rig.config = msgspec.structs.replace(rig.config, storage=storage)
    await rig.restart()
    for number in (1, 2):
        await rig.until(lambda job: job.delivered_at is not None, number)
    assert len(await pictures(ada, general)) == 2
