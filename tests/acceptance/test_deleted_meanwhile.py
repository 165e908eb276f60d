"""What is deleted while a message of it is on its way leaves nothing on Discord."""

import asyncio
from typing import Any

import pytest

from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_history import history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_job_messages import wants_pings
from tests.patience import PATIENCE


async def forget(rig: Rig, person: Person) -> None:
    """As `/mydata delete` does."""
    services = rig.client.services
    deleted = await services.requests.made.forget(int((await person.state())["me"]["id"]))
    services.delivery.chores.take_back(deleted.messages)


async def left(person: Person, channel: str, count: int) -> list[dict[str, Any]]:
    """The messages, once there are as few."""
    async with asyncio.timeout(PATIENCE):
        while len(shown := await person.messages(channel)) > count:
            await asyncio.sleep(0.05)
    return shown


async def nothing_to_take_back(rig: Rig) -> None:
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)


async def no_longer_followed(rig: Rig, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(rig.client.services.delivery) > count:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("door", ["command", "reaction"])
@pytest.mark.parametrize("lost", [False, True])
async def test_a_request_that_is_deleted_while_it_is_first_shown(
    rig: Rig, ada: Person, bo: Person, general: str, door: str, *, lost: bool
) -> None:
    """Also one whose message Discord has posted without the bot's having heard of it."""
    one = await imagine(ada, general)
    await delivered(rig, 1)
    rig.engine.gate = asyncio.Event()
    running = await (await ada.command(general, "imagine", prompt="a dog")).deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING, 2)
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == running["id"] and m["embeds"])
    how = {"reset": True} if lost else {}
    if door == "command":
        path = "/messages/@original"
        await rig.control.fault(path, method="PATCH", delay=0.7, after=True, times=1, **how)
        await bo.command(general, "imagine", prompt="a cat")
    else:
        path = f"/channels/{general}/messages$"
        await rig.control.fault(path, method="POST", delay=0.7, after=True, times=1, **how)
        await bo.react(one, "🔁")
    await rig.until(lambda job: job.state is JobState.QUEUED, 3)
    async with asyncio.timeout(PATIENCE):
        while not any("Bo" in str(m["embeds"]) for m in await ada.messages(general)):
            await asyncio.sleep(0.02)
    await forget(rig, bo)
    await no_longer_followed(rig, 1)
    shown = await left(ada, general, 2)
    assert {m["id"] for m in shown} == {one["id"], running["id"]}
    await nothing_to_take_back(rig)


@pytest.mark.parametrize("what", ["pick", "send", "reaction"])
async def test_a_picture_that_is_posted_while_its_request_is_deleted(
    rig: Rig, ada: Person, bo: Person, general: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 1 if what == "send" else 2
    four = await imagine(ada, general, count=count)
    await delivered(rig, 1)
    add_message = rig.studio.jobs.add_message

    async def deleted_before(*args: Any, **options: Any) -> bool:
        deleted = await rig.studio.store.personal.delete_job(1)
        rig.client.services.delivery.chores.take_back(deleted.messages)
        return await add_message(*args, **options)

    who = ada if what == "send" else bo
    if what == "send":
        page = await history(ada, general)
        shown = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    else:
        shown = await bo.message(general, four["id"])
    monkeypatch.setattr(rig.studio.jobs, "add_message", deleted_before)
    sentence = "Request #1 was deleted meanwhile"
    if what == "reaction":
        dm = await bo.channel("dm")
        await bo.react(four, "1️⃣")
        told = await bo.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    else:
        await who.click(shown, "Send here" if what == "send" else "darkroom:pick:1:0")
        told = await who.wait_for("MESSAGE_CREATE", lambda m: sentence in m["content"])
        assert told["flags"] & 64
    assert sentence in told["content"]
    assert await left(ada if who is bo else bo, general, 0) == []
    await nothing_to_take_back(rig)


async def test_a_mention_that_is_posted_while_its_request_is_deleted(
    rig: Rig, ada: Person, general: str
) -> None:
    await wants_pings(rig, ada)
    path = f"/channels/{general}/messages$"
    await rig.control.fault(path, method="POST", delay=0.7, after=True)
    await imagine(ada, general)
    await delivered(rig, 1)
    await ada.wait_for("MESSAGE_CREATE", lambda message: message["mentions"])
    deleted = await rig.studio.store.personal.delete_job(1)
    rig.client.services.delivery.chores.take_back(deleted.messages)
    await no_longer_followed(rig, 0)
    assert await left(ada, general, 0) == []
    await nothing_to_take_back(rig)
