"""Pictures that wait for a moderator: asked once, decided once, shown where they were asked for."""

import asyncio
from typing import Any

import pytest

from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_job_messages import ping, wants_pings
from tests.acceptance.test_moderation import MENU, changed
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_permissions import id_of
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say, texts
from tests.patience import PATIENCE

WAITING = "waiting for a moderator"


@pytest.fixture
async def audit(rig: Rig, control: Control, ada: Person, guild: str) -> str:
    """The channel where moderators are asked."""
    channel = str((await control.add_channel(guild, "audit"))["id"])
    await rig.studio.store.settings.change_guild(int(guild), audit_channel=int(channel))
    return channel


async def held(rig: Rig, guild: str, check: str = "hold") -> None:
    await rig.studio.store.settings.change_guild(int(guild), picture_check=check)


async def result_of(person: Person, channel: str, **options: Any) -> Json:
    """The message of a request once it says that its pictures wait."""
    act = await person.command(channel, "imagine", **{"prompt": "a lighthouse", **options})
    message = await act.deferred()
    return await until_it_says(person, channel, message, WAITING)


async def until_it_says(person: Person, channel: str, message: Json, words: str) -> Json:
    async with asyncio.timeout(PATIENCE):
        while words not in (now := await person.message(channel, message["id"]))["content"]:
            await asyncio.sleep(0.02)
    return now


async def questions(person: Person, audit: str, count: int = 1) -> list[Json]:
    """What moderators have been asked, once there are so many questions."""
    async with asyncio.timeout(PATIENCE):
        while True:
            asked = [m for m in await person.messages(audit) if m["attachments"]]
            if len(asked) >= count:
                return asked
            await asyncio.sleep(0.02)


async def test_an_unsafe_picture_is_shown_once_a_moderator_has_approved_it(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    await wants_pings(rig, bo)
    rig.engine.unsafe = (0.9, 0.1)
    message = await result_of(bo, general, count=2)
    assert [file["filename"] for file in message["attachments"]] == ["darkroom-1-2.png"]
    await delivered(rig, 1)
    [asked] = await questions(ada, audit)
    names = [file["filename"] for file in asked["attachments"]]
    assert names == ["SPOILER_darkroom-1-1.png", "SPOILER_darkroom-1-2.png"]
    said = asked["embeds"][0]["description"]
    assert "a lighthouse" in said
    assert f"/{general}/{message['id']}" in said
    assert asked["mentions"] == []
    # nobody is told that it is done before there is something to see
    assert [m for m in await bo.messages(general) if m["mentions"]] == []
    await rig.restart()
    act = await ada.click(asked, "Approve")
    await act.wait_for("INTERACTION_SUCCESS")
    async with asyncio.timeout(PATIENCE):
        while len((now := await bo.message(general, message["id"]))["attachments"]) < 2:
            await asyncio.sleep(0.02)
    assert [file["filename"] for file in now["attachments"]] == [
        "darkroom-1-1.png",
        "darkroom-1-2.png",
    ]
    assert WAITING not in now["content"]
    await ping(bo)
    asked = await ada.message(audit, asked["id"])
    assert "approved" in asked["content"]
    assert asked["components"] == []
    # what is not unsafe waits for nobody
    rig.engine.unsafe = (0.1,)
    await finished(bo, general, await (await bo.command(general, "imagine", prompt="x")).deferred())
    assert len(await questions(ada, audit)) == 1


async def test_what_a_moderator_denies_stays_hidden_by_whatever_way(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9, 0.1)
    message = await result_of(bo, general, count=2)
    await delivered(rig, 1)
    await bo.click(message, "darkroom:pick:1:0")
    await bo.wait_for("MESSAGE_CREATE", lambda m: "has to approve" in m["content"])
    [asked] = await questions(ada, audit)
    await (await ada.click(asked, "Deny")).wait_for("INTERACTION_SUCCESS")
    now = await until_it_says(bo, general, message, "has not approved one picture")
    assert [file["filename"] for file in now["attachments"]] == ["darkroom-1-2.png"]
    await bo.click(message, "darkroom:pick:1:0")
    await bo.wait_for("MESSAGE_CREATE", lambda m: "has decided" in m["content"])
    assert len(await questions(ada, audit)) == 1


async def test_the_first_who_decides_does(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild, "hold_all")
    rig.engine.unsafe = (0.0,)
    message = await result_of(ada, general)
    await delivered(rig, 1)
    [asked] = await questions(ada, audit)
    said = await (await bo.click(asked, "Approve")).response()
    assert "Only members who manage" in said["content"]
    # somebody else has decided, and this one still sees the buttons
    await rig.studio.store.approvals.decide(1, "denied", int(await id_of(bo)))
    await (await ada.click(asked, "Approve")).wait_for("INTERACTION_SUCCESS")
    assert "denied" in (await ada.message(audit, asked["id"]))["content"]
    await rig.restart()
    now = await until_it_says(ada, general, message, "has not approved")
    assert now["attachments"] == []


async def test_every_picture_can_be_held_without_a_check_and_then_none_is_private(
    rig: Rig,
    ada: Person,
    bo: Person,
    general: str,
    guild: str,
    audit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rig.client.services.delivery.attachments, "_unsafe_from", lambda: None)
    await changed(ada, general, "picture_check", value=["hold_all"])
    assert "private requests are not possible" in await refused(bo, general, private=True)
    assert await rig.studio.jobs.get(1) is None
    await result_of(bo, general)


async def test_nobody_is_asked_about_a_private_picture(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    await bo.command(general, "imagine", prompt="a secret", private=True)
    await delivered(rig, 1)
    assert await rig.studio.store.approvals.of(1) is None
    rig.engine.unsafe = (0.9,)
    await result_of(bo, general)
    [asked] = await questions(ada, audit)
    assert "#2" in asked["embeds"][0]["description"]


async def test_a_question_that_could_not_be_posted_is_asked_later(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    path = f"/channels/{audit}/messages$"
    await rig.control.fault(path, method="POST", status=403, code=50013, times=9999)
    message = await result_of(bo, general)
    await delivered(rig, 1)
    async with asyncio.timeout(PATIENCE):
        while "can't post the pictures" not in texts(
            (await say(ada, general, "settings"))["components"]
        ):
            await asyncio.sleep(0.05)
    await rig.control.clear_faults()
    await changed(ada, general, "audit_channel", value=[audit])
    [asked] = await questions(ada, audit)
    await (await ada.click(asked, "Approve")).wait_for("INTERACTION_SUCCESS")
    await finished(bo, general, message)


async def test_a_stop_loses_neither_question_nor_answer(
    rig: Rig,
    ada: Person,
    bo: Person,
    general: str,
    guild: str,
    audit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    path = f"/channels/{audit}/messages$"
    await rig.control.fault(path, method="POST", status=503, times=9999)
    message = await result_of(bo, general)
    await delivered(rig, 1)
    await rig.stop()
    await rig.control.clear_faults()
    await rig.start()
    await questions(ada, audit)
    # decided, and stopped before the result shows it
    await rig.studio.store.approvals.decide(1, "approved", 5)
    await rig.restart()
    await finished(bo, general, await bo.message(general, message["id"]))
    assert len(await questions(ada, audit)) == 1


async def test_with_its_request_the_question_goes(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    await result_of(bo, general)
    await delivered(rig, 1)
    [asked] = await questions(ada, audit)
    deleted = await rig.client.services.requests.made.forget_job(await rig.job(1))
    rig.client.services.delivery.chores.take_back(deleted.messages)
    await ada.wait_for("MESSAGE_DELETE", lambda m: m["id"] == asked["id"])


async def test_a_result_that_was_deleted_meanwhile_does_not_come_back(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    message = await result_of(bo, general)
    await delivered(rig, 1)
    [asked] = await questions(ada, audit)
    await (await bo.click(message, "Delete")).wait_for("INTERACTION_SUCCESS")
    await (await ada.click(asked, "Approve")).wait_for("INTERACTION_SUCCESS")
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.store.approvals.untold():
            await asyncio.sleep(0.02)
    assert [m for m in await bo.messages(general) if m["attachments"]] == []


@pytest.mark.parametrize("chosen", ["hold", "hold_all"])
async def test_holding_needs_a_place_to_ask(
    rig: Rig, ada: Person, general: str, guild: str, chosen: str, control: Control
) -> None:
    panel = await say(ada, general, "settings")
    act = await (await ada.click(panel, MENU, ["picture_check"])).submit(value=[chosen])
    assert "Choose one first" in (await act.response())["content"]
    channel = str((await control.add_channel(guild, "audit"))["id"])
    await changed(ada, general, "audit_channel", value=[channel])
    await changed(ada, general, "picture_check", value=[chosen])
    panel = await say(ada, general, "settings")
    act = await (await ada.click(panel, MENU, ["audit_channel"])).submit(value=[])
    assert "held for approval" in (await act.response())["content"]


async def test_what_is_for_age_restricted_channels_is_shown_there_alone(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await held(rig, guild, "restricted")
    adults = str((await control.add_channel(guild, "adults", nsfw=True))["id"])
    rig.engine.unsafe = (0.9, 0.1)
    act = await bo.command(general, "imagine", prompt="a lighthouse", count=2)
    message = await finished(bo, general, await act.deferred())
    assert [file["filename"] for file in message["attachments"]] == ["darkroom-1-2.png"]
    assert "age-restricted channels only" in message["content"]
    act = await bo.command(adults, "imagine", prompt="a lighthouse", count=2)
    there = await finished(bo, adults, await act.deferred())
    assert len(there["attachments"]) == 2
    # what was drawn there is not brought here
    await bo.click(message, "darkroom:pick:1:0")
    await bo.wait_for("MESSAGE_CREATE", lambda m: "age-restricted channels only" in m["content"])
