"""Reactions that come to nothing: whoever reacted is told in one sentence, and nothing is left."""

import asyncio
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from bot.delivery import message_chores
from playground.person import Person
from storage.errors import DatabaseBusyError
from tests.acceptance.conftest import Rig, buttons, finished, told_to_log
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE

HINT = "Press the button"


async def busy(*_arguments: Any, **_options: Any) -> Any:
    raise DatabaseBusyError("database is locked")


async def told(person: Person) -> str:
    dm = await person.channel("dm")
    answer = await person.wait_for(
        "MESSAGE_CREATE", lambda m: m["channel_id"] == dm and m["author"].get("bot")
    )
    return str(answer["content"])


@pytest.mark.parametrize("where", ["the message", "the person", "the action"])
async def test_a_busy_database_is_said(
    rig: Rig,
    ada: Person,
    general: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    store = rig.client.services.store
    owner, name = {
        "the message": (store.jobs, "shown_by"),
        "the person": (store.settings, "person"),
        "the action": (store.history, "set_favourite"),
    }[where]
    monkeypatch.setattr(owner, name, busy)
    chat = await ada.say(general, "hello")
    await ada.react(chat, "⭐")  # nothing of ours
    await ada.react(first, "👍")  # means nothing
    await ada.react(first, "⭐")
    assert "database does not answer" in await told(ada)
    await ada.unreact(first, "⭐")  # within the minute
    await asyncio.sleep(0.3)
    dm = await ada.channel("dm")
    assert len(await ada.messages(dm)) == 1
    assert "Traceback" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


@pytest.mark.parametrize("name", ["shown_by", "set_favourite"])
async def test_a_busy_database_is_said_of_a_star_that_is_taken_away(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    chat = await ada.say(general, "hello")
    await ada.react(chat, "⭐")
    await ada.react(first, "⭐")
    ada_id, store = int((await ada.state())["me"]["id"]), rig.client.services.store
    async with asyncio.timeout(PATIENCE):
        while not await store.history.is_favourite(ada_id, 1, 0):
            await asyncio.sleep(0.02)
    monkeypatch.setattr(store.jobs if name == "shown_by" else store.history, name, busy)
    await ada.unreact(chat, "⭐")
    await ada.unreact(first, "⭐")
    assert "database does not answer" in await told(ada)


@pytest.mark.parametrize(
    ("emoji", "fault", "said"),
    [
        ("1️⃣", {"status": 400, "code": 240000}, "own filter"),
        ("1️⃣", {"status": 400, "code": 50035}, "does not take the answer"),
        ("📋", {"status": 400, "code": 240000}, "own filter"),
        ("📋", {"status": 503}, "just now"),
    ],
)
async def test_what_discord_refuses_is_said(
    rig: Rig, ada: Person, general: str, emoji: str, fault: dict[str, Any], said: str
) -> None:
    first = await imagine(ada, general, count=2)
    await delivered(rig, 1)
    await rig.control.fault("/messages", method="POST", files=True, times=1000, **fault)
    await ada.react(first, emoji)
    assert said in await told(ada)


async def test_a_private_person_s_hint_comes_directly(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    bo_id, settings = int((await bo.state())["me"]["id"]), rig.client.services.store.settings
    await settings.change_person(bo_id, lambda now: msgspec.structs.replace(now, private=True))
    dm = await bo.channel("dm")
    for emoji, name in (("✏️", "Edit"), ("🖼️", "Start from it")):
        await bo.react(first, emoji)
        hint = await bo.wait_for(
            "MESSAGE_CREATE",
            lambda m, name=name: HINT in m["content"] and buttons(m) == [name],  # type: ignore[misc]
        )
        assert hint["channel_id"] == dm
        # the button that it holds opens the dialog
        act = await bo.click(hint, name)
        await act.modal()
        sent = await act.submit(prompt="a dog", negative_prompt="", parameters="steps: 2")
        await finished(bo, dm, await sent.deferred())
    assert not any(HINT in message["content"] for message in await ada.messages(general))


@pytest.mark.parametrize("private", [False, True])
async def test_a_hint_that_a_stop_left_goes_after_the_next_start(
    rig: Rig, ada: Person, general: str, private: bool
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    if private:
        ada_id, settings = int((await ada.state())["me"]["id"]), rig.client.services.store.settings
        await settings.change_person(ada_id, lambda now: msgspec.structs.replace(now, private=True))
    await ada.react(first, "✏️")
    hint = await ada.wait_for("MESSAGE_CREATE", lambda m: HINT in m["content"])
    async with asyncio.timeout(PATIENCE):
        while not await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)
    await rig.restart()
    await ada.wait_for("MESSAGE_DELETE", lambda m: m["id"] == hint["id"])
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)


async def test_a_hint_whose_time_is_over_is_noted_no_longer(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_chores, "HINT_SECONDS", 0.2)
    first = await imagine(ada, general)
    await delivered(rig, 1)
    await ada.react(first, "✏️")
    hint = await ada.wait_for("MESSAGE_CREATE", lambda m: HINT in m["content"])
    await ada.wait_for("MESSAGE_DELETE", lambda m: m["id"] == hint["id"])
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)


async def test_who_could_not_be_told_once_is_told_when_they_react_again(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    dm = await bo.channel("dm")
    await rig.control.fault(f"/channels/{dm}/messages", method="POST", status=503, times=1)
    with capture_logs() as logged:
        await bo.react(first, "❌")
        await told_to_log(logged, "could not be told")
    await bo.unreact(first, "❌")
    await bo.react(first, "❌")
    assert "Only the person who asked" in await told(bo)
