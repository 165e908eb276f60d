"""Whoever may not do something is refused at every door, and told why; the table itself is tested
in tests/unit/bot/access.
"""

import asyncio
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.access.permissions import RULES
from bot.requests.actions import ACTIONS, ActionTarget
from bot.ui.action_buttons import ActionButton
from generation.job import JobState
from playground.control import Control
from playground.person import Person, fields_of
from storage.history import HistoryStore
from tests.acceptance.conftest import Json, Rig, finished, press
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_faults import begin
from tests.acceptance.test_history import entries, history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_servers import save_preset, say
from tests.patience import PATIENCE

VIEW, MANAGE_MESSAGES, MANAGE_GUILD, ATTACH = 1 << 10, 1 << 13, 1 << 5, 1 << 15
NO_REQUEST = "There is no request #1"
ONLY_THE_PERSON = "Only the person who asked"


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


@pytest.fixture
async def cy(control: Control) -> Person:
    return await control.person("cy")


async def id_of(person: Person) -> str:
    return str((await person.state())["me"]["id"])


async def granted(
    control: Control, guild: str, person: Person, permissions: int, name: str = "staff"
) -> str:
    """Give somebody a role with these permissions; returns its id."""
    role = str((await control.add_role(guild, name, permissions))["id"])
    await control.change_member(guild, await id_of(person), roles=[role])
    return role


async def told(person: Person, words: str) -> Json:
    """What the bot writes to somebody directly."""
    direct = await person.channel("dm")
    return await person.wait_for(
        "MESSAGE_CREATE", lambda m: m["channel_id"] == direct and words in m["content"]
    )


async def answer(person: Person, message: Json, which: str) -> str:
    """What somebody reads, and they alone, who presses a button."""
    act = await press(person, message, which)
    said = await act.response()
    assert said["flags"] & 64
    return str(said["content"])


async def test_every_command_has_a_rule(rig: Rig) -> None:
    commands = [
        command
        for command in rig.client.tree.walk_commands()
        if isinstance(command, app_commands.Command)
    ]
    assert len(commands) > 15
    assert {f"/{command.qualified_name}" for command in commands} <= set(RULES)


# requests by their number


async def test_nobody_reads_a_private_request_by_its_number(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await granted(control, guild, bo, MANAGE_MESSAGES | MANAGE_GUILD)
    await imagine(ada, general, prompt="a secret", private=True)
    for command, options in (
        ("replay", {"job": 1}),
        ("history", {"tree": 1}),
        ("cancel", {"job": 1}),
        ("preset create", {"name": "stolen", "job": 1}),
    ):
        assert NO_REQUEST in (await say(bo, general, command, **options))["content"], command
    made = await say(ada, general, "preset create", name="own", job=1)
    assert fields_of(made["components"])


async def test_moderators_cancel_where_they_moderate_and_nowhere_else(
    rig: Rig, control: Control, ada: Person, bo: Person, cy: Person, general: str, guild: str
) -> None:
    pictures = str((await control.add_channel(guild, "pictures"))["id"])
    await control.overwrite(pictures, await id_of(cy), allow=MANAGE_MESSAGES)
    await begin(rig, bo, general)
    # what they may do where they use the command does not matter
    assert ONLY_THE_PERSON in (await say(cy, pictures, "cancel", job=1))["content"]
    await (await bo.command(pictures, "imagine", prompt="a fox")).deferred()
    await (await bo.command(pictures, "imagine", prompt="mine", private=True)).deferred()
    assert "is cancelled" in (await say(cy, general, "cancel", job=2))["content"]
    assert "There is no request #3" in (await say(cy, pictures, "cancel", job=3))["content"]
    assert (await rig.job(3)).state is JobState.QUEUED
    assert (await rig.job(1)).state is JobState.RUNNING
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 3)


async def test_a_private_thread_is_read_by_those_who_are_let_in(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    thread = await ada.begin_thread("general", "secret", private=True)
    await ada.let_in(thread["id"], "Darkroom")
    await imagine(ada, thread["id"], prompt="among us")
    assert NO_REQUEST in (await say(bo, general, "replay", job=1))["content"]
    await ada.let_in(thread["id"], "bo")
    act = await bo.command(general, "replay", job=1)
    await finished(bo, general, await act.deferred())


async def test_the_tree_hides_what_one_cannot_read(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    staff = str((await control.add_channel(guild, "staff"))["id"])
    await control.overwrite(staff, str((await ada.state())["application"]["bot"]["id"]), allow=VIEW)
    await control.overwrite(staff, guild, deny=VIEW)
    await imagine(ada, staff, prompt="hidden words")
    act = await ada.command(general, "replay", job=1)
    second = await finished(ada, general, await act.deferred())
    act = await bo.click(await bo.message(general, second["id"]), "Reroll")
    await finished(bo, general, await act.deferred())
    tree = (await say(bo, general, "history", tree=3))["content"]
    assert "#1" not in tree, "not even that there is one"
    assert [line.partition("#")[2][:1] for line in tree.splitlines()] == ["2", "3"]
    assert [line.count("\u2003") for line in tree.splitlines()] == [0, 1]
    assert NO_REQUEST in (await say(bo, general, "history", tree=1))["content"]
    lines = (await say(ada, general, "history", tree=3))["content"].splitlines()
    assert [line.count("\u2003") for line in lines] == [0, 1, 2]


# buttons, reactions, menus and modals


async def test_only_owners_press_where_a_server_wants_it(
    rig: Rig, control: Control, ada: Person, bo: Person, cy: Person, general: str, guild: str
) -> None:
    first = await imagine(ada, general)
    edit = await bo.click(await bo.message(general, first["id"]), "Edit")
    await edit.modal()
    await rig.studio.store.settings.change_guild(int(guild), press="owner")
    said = "only the person who asked"
    assert said in await answer(bo, first, "Reroll")
    assert said in (await (await edit.submit(prompt="a fox")).response())["content"]
    assert said in (await (await bo.use_on_message("Reroll", first)).response())["content"]
    assert said in (await say(bo, general, "replay", job=1))["content"]
    await bo.react(first, "🔁")
    await told(bo, said)
    await granted(control, guild, cy, MANAGE_MESSAGES)
    act = await cy.click(await cy.message(general, first["id"]), "Reroll")
    await finished(cy, general, await act.deferred())
    assert await rig.studio.jobs.get(3) is None


async def test_a_preset_for_a_role_holds_at_every_door(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = await granted(control, guild, ada, 0, "painters")
    toml = f'[[preset]]\nname = "oils"\nsteps = 3\nroles = [{role}]\n'
    await save_preset(ada, general, "oils", toml)
    first = await imagine(ada, general, preset="oils")
    await rig.restart()
    said = "is for those with the role"
    for label in ("Reroll", "Upscale", "Vary (subtle)", "Edit", "Start from it"):
        assert said in await answer(bo, first, label), label
    for menu in ("Reroll", "Upscale", "Vary"):
        assert said in (await (await bo.use_on_message(menu, first)).response())["content"], menu
    assert said in (await say(bo, general, "replay", job=1))["content"]
    await bo.react(first, "🔁")
    await told(bo, said)
    # to be read it is, as the picture itself
    assert "oils" not in await answer(bo, first, "Parameters")
    # whoever had the role has it no more
    edit = await ada.click(await ada.message(general, first["id"]), "Edit")
    await edit.modal()
    page = await history(ada, general)
    entry = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    await control.change_member(guild, await id_of(ada), roles=[])
    assert said in (await (await edit.submit(prompt="a fox")).response())["content"]
    assert said in (await (await ada.click(entry, "Again")).response())["content"]
    # nor do they escape it elsewhere
    direct = await ada.channel("dm")
    assert "only be drawn again there" in (await say(ada, direct, "replay", job=1))["content"]
    assert await rig.studio.jobs.get(2) is None


async def test_a_preset_for_a_role_is_shown_to_those_and_managers(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = str((await control.add_role(guild, "painters"))["id"])
    toml = f'[[preset]]\nname = "oils"\ntemplate = "thick {{prompt}}"\nroles = [{role}]\n'
    await save_preset(ada, general, "oils", toml)
    assert (
        "for those with the role" in (await say(bo, general, "preset show", name="oils"))["content"]
    )
    assert "thick" in (await say(ada, general, "preset show", name="oils"))["content"]
    exported = await say(bo, general, "preset export")
    _, content = await control.get(exported["attachments"][0]["url"])
    assert b"demo" in content
    assert b"thick" not in content
    assert "One preset is left out" in exported["content"]
    offered = await bo.autocomplete(general, "imagine", "preset", "")
    assert "oils" not in [choice["value"] for choice in offered]
    panel = await say(bo, general, "settings")
    act = await bo.click(panel, "darkroom:settings:person", ["default_preset"])
    said = (await (await act.submit(value="oils")).response())["content"]
    assert "for those with the role" in said
    await control.change_member(guild, await id_of(bo), roles=[role])
    assert "thick" in (await say(bo, general, "preset show", name="oils"))["content"]
    act = await bo.click(panel, "darkroom:settings:person", ["default_preset"])
    await (await act.submit(value="OILS")).wait_for("INTERACTION_SUCCESS")
    offered = await bo.autocomplete(general, "imagine", "preset", "")
    assert "oils" in [choice["value"] for choice in offered]
    own = await rig.studio.store.settings.person(int(await id_of(bo)))
    assert (own.default_preset, own.default_preset_guild) == ("oils", int(guild))


async def test_buttons_on_others_entries_are_refused(
    rig: Rig, bo: Person, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they come from does not matter: those of a page by mistake, or of a forged message."""
    await imagine(ada, general)
    view = discord.ui.View(timeout=None)
    for name in ("replay", "send", "forget", "delete"):
        view.add_item(ActionButton.of(ActionTarget(ACTIONS[name]), 1, name))
    sent = await rig.client.get_partial_messageable(int(general)).send("buttons", view=view)
    message = await bo.message(general, str(sent.id))
    for name in ("replay", "send", "forget", "delete"):
        assert ONLY_THE_PERSON in await answer(bo, message, name), name
    theirs = int(await id_of(ada))
    page = HistoryStore.page

    async def of_ada(store: HistoryStore, _user: int, *args: Any, **options: Any) -> Any:
        return await page(store, theirs, *args, **options)

    monkeypatch.setattr(HistoryStore, "page", of_ada)
    shown = await history(bo, general)
    assert entries(shown) == ["1"]
    said = await (await bo.click(shown, "darkroom:entry", ["1"])).response()
    assert NO_REQUEST in said["content"]
    assert said["attachments"] == []


async def test_whoever_manages_no_more_changes_no_settings(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await granted(control, guild, bo, MANAGE_GUILD)
    panel = await say(bo, general, "settings")
    modal = await bo.click(panel, "darkroom:settings:guild", ["quota"])
    await modal.modal()
    preset = await bo.click(await say(bo, general, "preset edit", name="demo"), "As text")
    await preset.modal()
    await control.change_member(guild, await id_of(bo), roles=[])
    said = "may manage this server"
    assert said in (await (await modal.submit(value="5")).response())["content"]
    act = await bo.click(panel, "darkroom:settings:guild", ["spoiler"])
    assert said in (await act.response())["content"]
    toml = '[[preset]]\nname = "mine"\n'
    assert said in (await (await preset.submit(preset=toml)).response())["content"]
    upload = await bo.upload("presets.toml", toml.encode())
    for command, options in (
        ("preset import", {"file": upload}),
        ("preset edit", {"name": "demo"}),
        ("preset create", {"name": "x"}),
        ("preset delete", {"name": "demo"}),
        ("preset default", {"name": "demo"}),
    ):
        assert said in (await say(bo, general, command, **options))["content"], command
    settings = await rig.studio.store.settings.guild(int(guild))
    assert (settings.quota, settings.spoiler) == (None, False)


async def test_a_reaction_is_refused_where_the_bot_lacks_permissions(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general)
    bot = str((await ada.state())["application"]["bot"]["id"])
    await control.overwrite(general, bot, deny=ATTACH)
    await bo.react(first, "🔁")
    await told(bo, "attach files")
    assert await rig.studio.jobs.get(2) is None


# what is deleted


@pytest.mark.slow
async def test_a_message_that_outlives_its_request_is_deleted_by_its_owner(
    rig: Rig, control: Control, ada: Person, bo: Person, cy: Person, general: str
) -> None:
    first = await imagine(bo, general)
    await delivered(rig, 1)
    await control.fault(f"/messages/{first['id']}", method="DELETE", status=403, code=50013)
    page = await history(bo, general)
    entry = await (await bo.click(page, "darkroom:entry", ["1"])).response()
    await (await bo.click(entry, "Delete for good")).response()
    async with asyncio.timeout(PATIENCE):
        while not any(r["status"] == 403 for r in await control.requests()):
            await asyncio.sleep(0.02)
    await control.clear_faults()
    assert ONLY_THE_PERSON in await answer(cy, first, "Delete")
    await cy.react(first, "❌")
    await told(cy, ONLY_THE_PERSON)
    assert (await bo.message(general, first["id"]))["id"] == first["id"]
    await bo.react(first, "❌")
    await bo.wait_for("MESSAGE_DELETE", lambda m: m["id"] == first["id"])
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)
