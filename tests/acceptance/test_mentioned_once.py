"""A mention through an interaction's token can't be looked for: it is made once at most."""

import asyncio
from typing import Any

import pytest

from bot.delivery import tracker
from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_job_messages import ping, wants_pings
from tests.acceptance.test_owed import kinds_owed, mentions, restarted, until_owed
from tests.patience import PATIENCE

UNCONFIRMED = "has not confirmed that it mentioned you"
REFUSED = {"status": 403, "code": 50013, "times": 9999}


async def closed(rig: Rig, channel: str, *methods: str) -> None:
    for method in methods:
        await rig.control.fault(f"/channels/{channel}/messages$", method=method, **REFUSED)


async def said(person: Person, channel: str, message: Json) -> bool:
    return UNCONFIRMED in (await person.message(channel, message["id"]))["content"]


@pytest.fixture(params=["answers", "stops"])
async def lose(
    request: Any, rig: Rig, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """How the answer to the mention is lost: it comes as a failure, or the bot stops before."""
    monkeypatch.setattr(tracker, "CLOSING_SECONDS", 0.1)
    stops = request.param == "stops"
    how = {"delay": 3600} if stops else {"reset": True}
    await rig.control.fault("/webhooks/", method="POST", times=1, after=True, **how)
    return {"stops": stops}


async def settled(rig: Rig, ada: Person, *, stops: bool) -> Json:
    """The mention, once nothing is owed; with a stop in between."""
    await delivered(rig, 1)
    mention = await ping(ada)
    if stops:
        assert "ping_sent" in await kinds_owed(rig)
        await rig.restart()
    await until_owed(rig, set())
    return mention


async def test_a_private_one_whose_answer_is_lost_is_not_sent_again(
    rig: Rig, ada: Person, general: str, lose: dict[str, Any]
) -> None:
    await wants_pings(rig, ada)
    result = await imagine(ada, general, private=True)
    mention = await settled(rig, ada, **lose)
    assert mention["flags"] & 64
    assert len(await mentions(ada, general)) == 1
    assert await said(ada, general, result), "nor is that only logged"
    shown = await ada.message(general, result["id"])
    assert shown["attachments"]
    assert shown["components"]
    await rig.restart()
    assert len(await mentions(ada, general)) == 1


@pytest.mark.slow
async def test_where_the_bot_may_read_it_is_found(
    rig: Rig, ada: Person, general: str, lose: dict[str, Any]
) -> None:
    await wants_pings(rig, ada)
    await closed(rig, general, "POST")
    result = await imagine(ada, general)
    mention = await settled(rig, ada, **lose)
    assert [m["id"] for m in await mentions(ada, general)] == [mention["id"]]
    assert not await said(ada, general, result)
    [(_, known)] = await rig.studio.jobs.messages_of(1, "ping")
    assert str(known) == mention["id"]


@pytest.mark.slow
async def test_where_it_may_not_it_is_not_made_elsewhere_either(
    rig: Rig, ada: Person, general: str, lose: dict[str, Any]
) -> None:
    await wants_pings(rig, ada)
    await closed(rig, general, "POST", "GET")
    result = await imagine(ada, general)
    await settled(rig, ada, **lose)
    assert len(await mentions(ada, general)) == 1
    assert await ada.messages(await ada.channel("dm")) == []
    assert await said(ada, general, result)
    guild = int((await ada.state())["guilds"][0]["id"])
    assert [each for each, _ in rig.client.services.audit.troubles(guild)] == ["trouble_mention"]


@pytest.mark.slow
async def test_one_that_surely_was_not_taken_is_made_after_a_stop(
    rig: Rig, ada: Person, general: str
) -> None:
    """Its note says so while it waits."""
    await wants_pings(rig, ada)
    await rig.control.fault("/webhooks/", method="POST", status=429, times=999)
    result = await imagine(ada, general, private=True)
    await delivered(rig, 1)
    async with asyncio.timeout(PATIENCE):
        while await refusals(rig) < 3:
            await asyncio.sleep(0.05)
    await until_owed(rig, {"ping"})
    await restarted(rig)
    await ping(ada)
    await until_owed(rig, set())
    assert len(await mentions(ada, general)) == 1
    assert not await said(ada, general, result)


async def refusals(rig: Rig) -> int:
    made = await rig.control.requests()
    return len([r for r in made if r["method"] == "POST" and "/webhooks/" in r["path"]])
