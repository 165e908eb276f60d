"""How far limits reach: a server's own, and those of direct messages."""

import asyncio
from typing import Any

import msgspec
import pytest

from bot.config import DirectMessagesSettings
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_history import entries, history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_permissions import granted, id_of
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


async def with_direct_messages(rig: Rig, **settings: Any) -> None:
    """Start again with `[direct_messages]` so."""
    rig.config = msgspec.structs.replace(
        rig.config, direct_messages=DirectMessagesSettings(**settings)
    )
    await rig.restart()


async def test_a_server_may_only_lower_how_many_wait(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = await granted(control, guild, bo, 0, "patrons")
    panel = await say(ada, general, "settings")
    act = await ada.click(panel, "darkroom:settings:guild", ["waiting"])
    assert "must be from 1 to 3" in (await (await act.submit(value="9")).response())["content"]
    act = await ada.click(panel, "darkroom:settings:guild", ["waiting_by_role"])
    answered = await (await act.submit(role=[role], value="9")).response()
    assert "must be from 1 to 3" in answered["content"]
    # as of a bot whose owner has lowered the limit since
    settings = rig.studio.store.settings
    await settings.change_guild(int(guild), waiting=9, waiting_by_role={int(role): 50})
    rig.engine.gate = asyncio.Event()
    for _ in range(3):
        await (await bo.command(general, "imagine", prompt="a fox")).deferred()
    bo.events.clear()
    assert "3 requests waiting" in await refused(bo, general)
    await settings.change_guild(int(guild), waiting=1, waiting_by_role={})
    for _ in range(1):
        await (await ada.command(general, "imagine", prompt="a fox")).deferred()
    ada.events.clear()
    assert "waiting already" in await refused(ada, general)
    rig.engine.gate.set()
    await delivered(rig, 4)


async def test_direct_messages_can_be_switched_off(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str
) -> None:
    await with_direct_messages(rig, enabled=False)
    first = await imagine(bo, general)
    direct = await bo.channel("dm")
    said = "only be asked for on a server"
    assert said in await refused(bo, direct)
    assert said in (await say(bo, direct, "replay", job=1))["content"]
    elsewhere = await control.add_guild("elsewhere", owner=await id_of(bo), bot=False)
    await bo.install_app()
    channel = str(elsewhere["channels"][0]["id"])
    bo.events.clear()
    assert said in await refused(bo, channel)
    # what is theirs already stays theirs
    assert entries(await history(bo, direct)) == ["1"]
    assert (await bo.message(general, first["id"]))["attachments"]


async def test_direct_messages_have_a_blocklist_and_a_quota_of_their_own(
    rig: Rig, bo: Person, general: str, guild: str
) -> None:
    await with_direct_messages(rig, blocklist=("blood",), quota=2, waiting=1)
    direct = await bo.channel("dm")
    assert "does not want" in await refused(bo, direct, prompt="much blood")
    await imagine(bo, direct, count=2)
    bo.events.clear()
    assert "2 pictures" in await refused(bo, direct)
    # deleting gives nothing back
    page = await history(bo, direct)
    entry = await (await bo.click(page, "darkroom:entry", ["1"])).response()
    await (await bo.click(entry, "Delete for good")).response()
    bo.events.clear()
    assert "2 pictures" in await refused(bo, direct)
    # and a server has its own
    await imagine(bo, general, prompt="much blood")
    await with_direct_messages(rig, waiting=1)
    rig.engine.gate = asyncio.Event()
    await (await bo.command(direct, "imagine", prompt="a fox")).deferred()
    bo.events.clear()
    assert "waiting already" in await refused(bo, direct)
    rig.engine.gate.set()
    await delivered(rig, 3)
