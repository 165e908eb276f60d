"""`/settings` with the longest lists that the declarations allow."""

import asyncio
import re
from typing import Any

import pytest

from playground.control import Control
from playground.person import Act, Person, fields_of
from storage.settings import PHRASES_MAX, GuildSettings
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_retry import answer_to
from tests.acceptance.test_servers import say, texts
from tests.patience import PATIENCE

GUILD_MENU = "darkroom:settings:guild"
PHRASES = tuple(f"{i:03} " + "*_~" * 150 + "x" * 46 for i in range(PHRASES_MAX))
"""Markup, which is twice as long once it is escaped."""


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> int:
    return int((await ada.state())["guilds"][0]["id"])


@pytest.fixture
async def full(rig: Rig, guild: int) -> GuildSettings:
    """Everything as long as it can be; Discord has 500 channels and 250 roles at most."""
    ids = [10**18 + i for i in range(500)]
    long = "*" * 50
    values: dict[str, Any] = {
        "default_preset": long,
        "channel_presets": dict.fromkeys(ids, long),
        "channels": tuple(ids),
        "quota_by_role": dict.fromkeys(ids[:250], 100_000),
        "waiting_by_role": dict.fromkeys(ids[:250], 1000),
        "weight_by_role": dict.fromkeys(ids[:250], 9.5),
        "blocklist": PHRASES,
    }
    return await rig.studio.store.settings.change_guild(guild, **values)


async def panel_after(person: Person, channel: str, act: Act, panel: Json) -> Json:
    await act.wait_for("INTERACTION_SUCCESS")
    return await person.message(channel, panel["id"])


def ids_of(panel: Json) -> dict[str, Json]:
    """Its components by what they do."""
    return {f["custom_id"].split(":")[1]: f for f in fields_of(panel["components"])}


async def test_the_panel_opens_and_every_list_is_shown_to_its_end(
    rig: Rig, ada: Person, general: str, guild: int, full: GuildSettings
) -> None:
    for name in ("channel_presets", "channels", "quota_by_role", "weight_by_role", "blocklist"):
        panel = await say(ada, general, "settings")
        assert len(texts(panel["components"])) <= 4000
        act = await ada.click(panel, GUILD_MENU, [name])
        panel = await panel_after(ada, general, act, panel)
        first = str(next(iter(getattr(full, name))))[:10]
        assert first in texts(panel["components"]).replace("\\", "")
        # its last page, without turning all of them
        [pages] = map(int, re.findall(r"Page 1 of (\d+)", texts(panel["components"])))
        view = await rig.studio.store.settings.guild(guild)
        assert pages == (72 if name == "blocklist" else -(-len(getattr(view, name)) // 25))
        act = await ada.click(panel, ids_of(panel)["settings_next"]["custom_id"])
        panel = await panel_after(ada, general, act, panel)
        assert f"Page 2 of {pages}" in texts(panel["components"])
        act = await ada.click(panel, ids_of(panel)["settings_all"]["custom_id"])
        panel = await panel_after(ada, general, act, panel)
        assert "Who may press" in texts(panel["components"])


async def test_phrases_are_edited_a_page_at_a_time(
    rig: Rig, ada: Person, general: str, guild: int, full: GuildSettings
) -> None:
    panel = await say(ada, general, "settings")
    act = await ada.click(panel, GUILD_MENU, ["blocklist"])
    panel = await panel_after(ada, general, act, panel)
    act = await ada.click(panel, ids_of(panel)["settings_next"]["custom_id"])
    panel = await panel_after(ada, general, act, panel)
    act = await ada.click(panel, ids_of(panel)["settings_edit"]["custom_id"])
    [field] = fields_of((await act.modal())["components"])
    here = field["value"].split("\n")
    begin = PHRASES.index(here[0])
    assert begin > 0
    assert tuple(here) == PHRASES[begin : begin + len(here)]
    act = await act.submit(value="\n".join(["fog", *here[1:]]))
    panel = await panel_after(ada, general, act, panel)
    settings = rig.studio.store.settings
    now = (await settings.guild(guild)).blocklist
    assert now == (*PHRASES[:begin], "fog", *PHRASES[begin + 1 :])
    # one more than there may be is refused, with what was typed
    act = await ada.click(panel, ids_of(panel)["settings_add"]["custom_id"])
    await act.modal()
    refused = await answer_to(await act.submit(value="rain"))
    assert "at most 500" in refused["content"]
    again = await ada.click(refused, "Edit and try again")
    [field] = fields_of((await again.modal())["components"])
    assert field["value"] == "rain"
    menu = ids_of(panel)["settings_remove"]
    [fog] = [option["value"] for option in menu["options"] if option["label"] == "fog"]
    act = await ada.click(panel, menu["custom_id"], [fog])
    panel = await panel_after(ada, general, act, panel)
    left = (await settings.guild(guild)).blocklist
    assert [p[:3] for p in left] == [p[:3] for p in (*PHRASES[:begin], *PHRASES[begin + 1 :])]
    act = await again.submit(value="rain")
    await act.wait_for("INTERACTION_SUCCESS")
    assert (await settings.guild(guild)).blocklist[-1] == "rain"
    act = await ada.click(panel, ids_of(panel)["settings_file"]["custom_id"])
    file = (await act.response())["attachments"][0]
    _, content = await rig.control.get(file["url"])
    assert content.decode().split("\n") == [*PHRASES[:begin], *PHRASES[begin + 1 :], "rain"]


async def test_a_list_that_another_has_changed_is_not_overwritten(
    rig: Rig, ada: Person, general: str, guild: int, full: GuildSettings
) -> None:
    panel = await say(ada, general, "settings")
    act = await ada.click(panel, GUILD_MENU, ["blocklist"])
    panel = await panel_after(ada, general, act, panel)
    act = await ada.click(panel, ids_of(panel)["settings_edit"]["custom_id"])
    await act.modal()
    settings = rig.studio.store.settings
    await settings.change_guild(guild, blocklist=("rain", "snow"))
    await (await act.submit(value="fog\nrain")).wait_for("INTERACTION_SUCCESS")
    assert (await settings.guild(guild)).blocklist == ("rain", "snow", "fog")
    # the panel of another manager, as it was before
    settings_menu = await say(ada, general, "settings")
    await settings.change_guild(guild, blocklist=PHRASES)
    act = await ada.click(settings_menu, GUILD_MENU, ["blocklist"])
    panel = await panel_after(ada, general, act, settings_menu)
    menu = ids_of(panel)["settings_remove"]
    await settings.change_guild(guild, blocklist=("rain", "snow", "fog"))
    act = await ada.click(panel, menu["custom_id"], [menu["options"][0]["value"]])
    assert "Somebody else" in (await answer_to(act))["content"]
    assert (await settings.guild(guild)).blocklist == ("rain", "snow", "fog")


async def test_roles_and_channels_that_are_gone_are_taken_out(
    rig: Rig, control: Control, ada: Person, general: str, guild: int, full: GuildSettings
) -> None:
    for name in ("quota_by_role", "channel_presets", "channels"):
        panel = await say(ada, general, "settings")
        act = await ada.click(panel, GUILD_MENU, [name])
        panel = await panel_after(ada, general, act, panel)
        menu = ids_of(panel)["settings_remove"]
        values = [option["value"] for option in menu["options"]]
        act = await ada.click(panel, menu["custom_id"], values)
        await act.wait_for("INTERACTION_SUCCESS")
        left = getattr(await rig.studio.store.settings.guild(guild), name)
        assert list(left) == list(getattr(full, name))[25:]


async def test_everybody_else_sees_the_panel_too(
    rig: Rig, bo: Person, general: str, full: GuildSettings
) -> None:
    assert len(texts((await say(bo, general, "settings"))["components"])) <= 4000


async def test_what_the_bot_can_not_do_fits_beside_them(
    rig: Rig, control: Control, ada: Person, general: str, guild: int, full: GuildSettings
) -> None:
    audit = rig.client.services.audit
    await rig.studio.store.settings.change_guild(guild, audit_channel=int(general))
    closed = {"status": 403, "code": 50013, "times": 9999}
    await rig.control.fault(f"/channels/{general}/messages$", method="POST", **closed)
    audit._lost[guild] += 10**6
    for number in range(9):
        channel = await control.add_channel(str(guild), f"c{number}")
        for trouble in ("trouble_emoji", "trouble_mention", "trouble_deleting"):
            audit.cannot(guild, int(channel["id"]), trouble)
    async with asyncio.timeout(PATIENCE):
        while len(audit._tasks):
            await asyncio.sleep(0.02)
    shown = texts((await say(ada, general, "settings"))["components"])
    assert len(shown) <= 4000
    assert shown.count("⚠️") == 5
    # a channel that is gone is nobody's trouble
    assert len(audit.troubles(guild)) == 27
    await control.delete_channel(str(channel["id"]))
    async with asyncio.timeout(PATIENCE):
        while len(audit.troubles(guild)) != 24:
            await asyncio.sleep(0.02)
