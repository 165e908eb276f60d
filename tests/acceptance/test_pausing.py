"""The owner pauses and resumes; what waits says so, and restarts change nothing of it."""

import asyncio

import pytest

from bot import presence
from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Rig, finished
from tests.acceptance.test_servers import say


async def test_the_owner_pauses_and_goes_on(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    first = await (await bo.command(general, "imagine", prompt="a fox")).deferred()
    await rig.until(lambda job: job.attempts > 0)
    assert "to its end" in (await say(ada, general, "pause"))["content"]
    assert "already" in (await say(ada, general, "pause"))["content"]
    second = await (await bo.command(general, "imagine", prompt="a hare")).deferred()
    await bo.wait_for(
        "MESSAGE_UPDATE", lambda m: m["id"] == second["id"] and "paused" in m["content"]
    )
    gate.set()
    await finished(bo, general, first)
    await asyncio.sleep(0.2)
    assert (await rig.job(2)).state is JobState.QUEUED
    assert "paused" in (await say(bo, general, "queue"))["embeds"][0]["description"]
    # it holds after a restart
    await rig.restart()
    assert rig.studio.workers.paused
    await asyncio.sleep(0.2)
    assert (await rig.job(2)).state is JobState.QUEUED
    assert "One request waits" in (await say(ada, general, "resume"))["content"]
    await finished(bo, general, second)
    assert "not paused" in (await say(ada, general, "resume"))["content"]
    await rig.restart()
    assert not rig.studio.workers.paused


async def test_nobody_else_does(rig: Rig, bo: Person, general: str) -> None:
    for command in ("pause", "resume"):
        assert "owner" in (await say(bo, general, command))["content"]
    assert not rig.studio.workers.paused


async def test_the_list_of_members_shows_how_it_is(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "EVERY", 0.05)
    workers = rig.studio.workers
    showing = asyncio.create_task(presence.show_presence(rig.client, workers))

    async def shows(words: str) -> None:
        await ada.wait_for("APPLICATION_STATUS", lambda data: data["activity"] == words)

    await shows("ready · /imagine")
    workers.pause()
    await (await bo.command(general, "imagine", prompt="a fox")).deferred()
    await shows("paused · 1 waits")
    workers.resume()
    await shows("demo")
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)
