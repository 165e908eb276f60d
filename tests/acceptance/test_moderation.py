"""Moderation: members who are blocked, models for roles, quotas that are forgiven."""

import asyncio

import pytest

from generation.job import JobState
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_permissions import answer, granted, id_of
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say, texts

MENU = "darkroom:settings:guild"
BLOCKED = "you can't ask for pictures here"
LORA = "demo-pixel-art"


async def changed(person: Person, channel: str, setting: str, /, **values: str | list[str]) -> Json:
    """The panel after a setting was changed in its dialog."""
    panel = await say(person, channel, "settings")
    act = await (await person.click(panel, MENU, [setting])).submit(**values)
    await act.wait_for("INTERACTION_SUCCESS")
    return await person.message(channel, panel["id"])


async def test_a_blocked_member_asks_for_nothing_by_whatever_way(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    first = await imagine(bo, general)
    user = await id_of(bo)
    gate = rig.engine.gate = asyncio.Event()
    await (await bo.command(general, "imagine", prompt="one that runs")).deferred()
    await rig.until(lambda job: job.attempts > 0, 2)
    await (await bo.command(general, "imagine", prompt="one that waits")).deferred()
    said = await say(ada, general, "moderate block", user=user)
    assert "cancelled" in said["content"]
    gate.set()
    for number in (2, 3):
        cancelled = await rig.until(lambda job: job.ended, number)
        assert cancelled.state is JobState.CANCELLED
    assert BLOCKED in await refused(bo, general)
    for button in ("Reroll", "Upscale", "Edit"):
        assert BLOCKED in await answer(bo, first, button)
    assert BLOCKED in (await say(bo, general, "replay", job=1))["content"]
    await bo.react(first, "🔁")
    await bo.wait_for("MESSAGE_CREATE", lambda m: BLOCKED in m["content"])
    assert await rig.studio.jobs.get(4) is None
    # what is theirs stays theirs
    await (await bo.click(first, "Delete")).wait_for("INTERACTION_SUCCESS")
    assert "blocked" in (await say(ada, general, "moderate show", user=user))["content"]
    await say(ada, general, "moderate unblock", user=user)
    await imagine(bo, general)
    assert "not blocked" in (await say(ada, general, "moderate unblock", user=user))["content"]


async def test_only_who_manages_the_server_moderates_it(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    user = await id_of(ada)
    assert "moderate" not in [command["name"] for command in (await bo.state())["commands"]]
    assert "yourself" in (await say(ada, general, "moderate block", user=user))["content"]


async def test_members_are_blocked_in_the_settings_too(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    user = await id_of(bo)
    panel = await changed(ada, general, "blocked", value=[user])
    assert f"<@{user}>" in texts(panel["components"])
    assert BLOCKED in await refused(bo, general)
    await changed(ada, general, "blocked", value=[])
    await imagine(bo, general)


async def test_models_and_loras_for_a_role_are_drawn_with_by_that_role(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = await granted(control, guild, ada, 0, "painters")
    panel = await changed(ada, general, "reserved", role=[role], value=LORA.upper())
    assert LORA in texts(panel["components"]).replace("\\", "")
    said = await refused(bo, general, lora=LORA)
    assert f"<@&{role}>" in said
    assert f"<@&{role}>" in await refused(bo, general, prompt=f"a fox <lora:{LORA}:0.5>")
    # before anything of a grid is drawn, and before its cost is asked for
    proposal = await say(bo, general, "grid", prompt="a fox", x="lora", x_values=LORA)
    assert f"<@&{role}>" in proposal["content"]
    names = [
        choice["value"] for choice in await bo.autocomplete(general, "imagine", "lora", "demo")
    ]
    assert LORA not in names
    first = await imagine(ada, general, lora=LORA)
    names = [
        choice["value"] for choice in await ada.autocomplete(general, "imagine", "lora", "demo")
    ]
    assert LORA in names
    assert f"<@&{role}>" in await answer(bo, first, "Reroll")
    # a preset of the server opens no door
    await changed(ada, general, "reserved", role=[role], value="demo")
    assert f"<@&{role}>" in await refused(bo, general)
    await imagine(ada, general)
    # what only enlarges draws with nothing
    await (await bo.click(first, "Upscale")).deferred()
    await changed(ada, general, "reserved", role=[role], value="")
    await imagine(bo, general, lora=LORA)


@pytest.mark.parametrize(("name", "said"), [("demo-pixl-art", LORA), ("dmeo", "demo")])
async def test_what_is_kept_for_a_role_has_to_be_there(
    rig: Rig, control: Control, ada: Person, general: str, guild: str, name: str, said: str
) -> None:
    role = await granted(control, guild, ada, 0, "painters")
    panel = await say(ada, general, "settings")
    act = await (await ada.click(panel, MENU, ["reserved"])).submit(role=[role], value=name)
    assert f"“{said}”" in (await act.response())["content"]
    assert (await rig.studio.store.settings.guild(int(guild))).reserved == {}


async def test_a_quota_that_is_forgiven_begins_anew(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), quota=2)
    user = await id_of(bo)
    await imagine(bo, general, count=2)
    assert "You have had your 2 pictures" in await refused(bo, general)
    shown = (await say(ada, general, "moderate show", user=user))["content"]
    assert "2 pictures" in shown
    assert "reset_quota" in shown
    await say(ada, general, "moderate reset_quota", user=user)
    shown = (await say(ada, general, "moderate show", user=user))["content"]
    assert "0 pictures" in shown
    await imagine(bo, general, count=2)
    before = await rig.studio.jobs.newest_id()
    await refused(bo, general)
    assert await rig.studio.jobs.newest_id() == before
