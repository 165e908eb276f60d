"""What the bot can't do is told to those who can change it: once, until it works again."""

import asyncio
from typing import Any

import pytest

from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_deleted_meanwhile import left, nothing_to_take_back
from tests.acceptance.test_faults import begin
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_job_messages import wants_pings
from tests.acceptance.test_owed import EMOJI, kinds_owed, reactions, restarted, until_owed
from tests.acceptance.test_servers import say
from tests.patience import PATIENCE

FORBIDDEN: Json = {"status": 403, "code": 50013, "times": 9999}
NO_EMOJI = "can’t add the emoji"


@pytest.fixture
async def audit(rig: Rig, control: Control, ada: Person) -> str:
    """The channel where moderators read what happens."""
    guild = (await ada.state())["guilds"][0]["id"]
    channel = str((await control.add_channel(guild, "audit"))["id"])
    await rig.studio.store.settings.change_guild(int(guild), audit_channel=int(channel))
    return channel


async def warnings(rig: Rig, ada: Person, audit: str) -> list[str]:
    """What moderators are warned of, once all is posted that is about to be."""
    async with asyncio.timeout(PATIENCE):
        while len(rig.client.services.audit._tasks):
            await asyncio.sleep(0.02)
    return [m["content"] for m in await ada.messages(audit) if m["content"].startswith("⚠️")]


async def drawn(rig: Rig, ada: Person, channel: str, number: int) -> Json:
    """A result, when all is done about it."""
    message = await imagine(ada, channel)
    await delivered(rig, number)
    await until_owed(rig, set())
    return message


@pytest.mark.slow
async def test_emoji_that_the_bot_may_not_add_are_told_once_until_it_may(
    rig: Rig, ada: Person, general: str, audit: str
) -> None:
    await rig.control.fault(EMOJI, method="PUT", **FORBIDDEN)
    await drawn(rig, ada, general, 1)
    await drawn(rig, ada, general, 2)
    [warning] = await warnings(rig, ada, audit)
    assert NO_EMOJI in warning
    assert f"<#{general}>" in warning
    assert NO_EMOJI in str(await say(ada, general, "settings"))
    # in another channel it is another matter
    await drawn(rig, ada, await ada.channel("pictures"), 3)
    assert len(await warnings(rig, ada, audit)) == 2
    await rig.control.clear_faults()
    await drawn(rig, ada, general, 4)
    assert f"<#{general}>" not in str(await say(ada, general, "settings"))
    await rig.control.fault(EMOJI, method="PUT", **FORBIDDEN)
    await drawn(rig, ada, general, 5)
    assert len(await warnings(rig, ada, audit)) == 3


async def test_only_who_manages_the_server_sees_it_beside_the_settings(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await rig.control.fault(EMOJI, method="PUT", **FORBIDDEN)
    await drawn(rig, ada, general, 1)
    assert NO_EMOJI in str(await say(ada, general, "settings")), "without an audit channel, too"
    assert NO_EMOJI not in str(await say(bo, general, "settings"))


@pytest.mark.slow
@pytest.mark.parametrize("code", [10014, 30010])
async def test_an_emoji_that_discord_does_not_take_keeps_back_no_other(
    rig: Rig, ada: Person, general: str, audit: str, code: int
) -> None:
    all_of_them = await reactions(ada, general, await drawn(rig, ada, general, 1))
    for number in (2, 3):
        await rig.control.fault(EMOJI, method="PUT", status=400, code=code, times=1)
        message = await drawn(rig, ada, general, number)
        assert await reactions(ada, general, message) == all_of_them - 1
    [warning] = await warnings(rig, ada, audit)
    assert f"its code {code}" in warning


@pytest.mark.parametrize("stops", [False, True])
async def test_nothing_is_owed_about_a_message_that_is_gone(
    rig: Rig, ada: Person, general: str, audit: str, *, stops: bool
) -> None:
    await rig.control.fault(EMOJI, method="PUT", status=503, times=9999)
    message = await imagine(ada, general)
    await delivered(rig, 1)
    await until_owed(rig, {"emoji"})
    await ada.delete(message)
    await (restarted(rig) if stops else rig.control.clear_faults())
    await until_owed(rig, set())
    assert await warnings(rig, ada, audit) == []


@pytest.mark.slow
async def test_that_a_mention_is_nowhere_possible_is_told_once(
    rig: Rig, ada: Person, general: str, audit: str
) -> None:
    await wants_pings(rig, ada)
    dm = await ada.channel("dm")
    for path in (f"/channels/{general}/messages$", f"/channels/{dm}/messages$", "/webhooks/"):
        await rig.control.fault(path, method="POST", **FORBIDDEN)
    await drawn(rig, ada, general, 1)
    await drawn(rig, ada, general, 2)
    [warning] = await warnings(rig, ada, audit)
    assert "can’t mention" in warning
    await rig.control.clear_faults()
    await drawn(rig, ada, general, 3)
    assert "can’t mention" not in str(await say(ada, general, "settings"))


async def test_that_nobody_could_be_told_of_a_result_is_told_to_moderators(
    rig: Rig, ada: Person, bo: Person, general: str, audit: str
) -> None:
    await begin(rig, bo, general, private=True)
    await rig.control.clock(16 * 60)
    dm = await bo.channel("dm")
    await rig.control.fault(f"/channels/{dm}/", method="POST", status=403, code=50007, times=100)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    [warning] = await warnings(rig, ada, audit)
    assert "#1" in warning
    assert f"<@{(await bo.state())['me']['id']}>" in warning
    assert "lighthouse" not in warning, "it was private"


@pytest.mark.slow
async def test_messages_of_deleted_requests_that_stay_are_told_once(
    rig: Rig, ada: Person, bo: Person, general: str, audit: str
) -> None:
    for number in (1, 2):
        await drawn(rig, bo, general, number)
    await rig.control.fault(f"/channels/{general}/", method="DELETE", **FORBIDDEN)
    await forgotten(rig, 1)
    await forgotten(rig, 2)
    async with asyncio.timeout(PATIENCE):
        while len([r for r in await rig.control.requests() if r["method"] == "DELETE"]) < 2:
            await asyncio.sleep(0.02)
        while not (told := await warnings(rig, ada, audit)):
            await asyncio.sleep(0.02)
    [warning] = told
    assert "can’t delete messages" in warning
    assert len(await left(ada, general, 2)) == 2
    await rig.control.clear_faults()
    await rig.restart()
    await left(ada, general, 0)
    await nothing_to_take_back(rig)


@pytest.mark.slow
async def test_a_message_to_be_deleted_is_so_however_long_discord_does_not_answer(
    rig: Rig, ada: Person, general: str
) -> None:
    await drawn(rig, ada, general, 1)
    # longer than all the waits of before
    await rig.control.fault(f"/channels/{general}/", method="DELETE", drop=True, times=60)
    await forgotten(rig, 1)
    await left(ada, general, 0)


async def forgotten(rig: Rig, number: int) -> None:
    deleted: Any = await rig.studio.store.personal.delete_job(number)
    rig.client.services.delivery.chores.take_back(deleted.messages)


async def test_a_restart_tells_it_again_where_it_is_so_still(
    rig: Rig, ada: Person, general: str, audit: str
) -> None:
    await rig.control.fault(EMOJI, method="PUT", **FORBIDDEN)
    await drawn(rig, ada, general, 1)
    await rig.restart()
    await drawn(rig, ada, general, 2)
    assert len(await warnings(rig, ada, audit)) == 2
    assert await kinds_owed(rig) == set()
