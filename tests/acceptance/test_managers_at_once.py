"""Two managers at once, and what names a preset: nothing that one of them set is lost."""

import asyncio

from playground.person import Act, Person, fields_of
from storage.settings import GuildSettings
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_retry import RETRY, answer_to
from tests.acceptance.test_servers import guild, save_preset, say

__all__ = ["guild"]

LANDSCAPE = '[[preset]]\nname = "Landscape"\nsteps = 2\n'


async def settings(rig: Rig, guild: str) -> GuildSettings:
    return await rig.studio.store.settings.guild(int(guild))


async def dialogs(person: Person, panel: Json, name: str, number: int = 2) -> list[Act]:
    """Several dialogs of one setting, all opened before any is handed in."""
    opened = []
    for _ in range(number):
        act = await person.click(panel, "darkroom:settings:guild", [name])
        await act.modal()
        opened.append(act)
    return opened


async def test_lists_keep_what_both_have_added(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("old",))
    panel = await say(ada, general, "settings")
    one, two = await dialogs(ada, panel, "blocklist")
    await (await one.submit(value="old\none")).wait_for("INTERACTION_SUCCESS")
    await (await two.submit(value="old\ntwo")).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).blocklist == ("old", "one", "two")
    # nobody else changed it: what is handed in is what holds
    [alone] = await dialogs(ada, panel, "blocklist", 1)
    await (await alone.submit(value="two")).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).blocklist == ("two",)


async def test_different_settings_at_the_same_time(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "settings")
    [quota] = await dialogs(ada, panel, "quota", 1)
    [press] = await dialogs(ada, panel, "press", 1)
    await asyncio.gather(quota.submit(value="3"), press.submit(value=["owner"]))
    async with asyncio.timeout(20):
        while (await settings(rig, guild)) != GuildSettings(quota=3, press="owner"):
            await asyncio.sleep(0.05)


async def test_channels_keep_what_both_have_set(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    other = await ada.channel("pictures")
    await save_preset(ada, general, "Landscape", LANDSCAPE)
    panel = await say(ada, general, "settings")
    one, two = await dialogs(ada, panel, "channel_presets")
    await (await one.submit(channel=[general], value="LANDSCAPE")).wait_for("INTERACTION_SUCCESS")
    await (await two.submit(channel=[other], value="landscape")).wait_for("INTERACTION_SUCCESS")
    both = {int(general): "Landscape", int(other): "Landscape"}
    assert (await settings(rig, guild)).channel_presets == both


async def test_a_default_has_the_presets_own_name_and_goes_with_it(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await save_preset(ada, general, "Landscape", LANDSCAPE)
    panel = await say(ada, general, "settings")
    [act] = await dialogs(ada, panel, "default_preset", 1)
    await (await act.submit(value="LANDSCAPE")).wait_for("INTERACTION_SUCCESS")
    assert "Landscape" in (await say(ada, general, "preset default", name="landscape"))["content"]
    own = await say(bo, general, "settings")
    mine = await bo.click(own, "darkroom:settings:person", ["default_preset"])
    await (await mine.submit(value="LANDscape")).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).default_preset == "Landscape"
    person = rig.studio.store.settings.person
    bo_id = int((await bo.state())["me"]["id"])
    assert (await person(bo_id)).default_preset == "Landscape"
    edit = await ada.click(await say(ada, general, "preset edit", name="LANDSCAPE"), "As text")
    [field] = fields_of((await edit.modal())["components"])
    renamed = field["value"].replace('"Landscape"', '"View"')
    await (await edit.submit(preset=renamed)).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).default_preset == "View"
    assert (await person(bo_id)).default_preset == "View"
    await say(ada, general, "preset delete", name="view")
    assert await settings(rig, guild) == GuildSettings()
    assert (await person(bo_id)).default_preset is None


async def test_a_list_that_is_opened_again_keeps_what_another_has_added(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    change = rig.studio.store.settings.change_guild
    await change(int(guild), blocklist=("fog",))
    panel = await say(ada, general, "settings")
    [act] = await dialogs(ada, panel, "blocklist", 1)
    message = await answer_to(await act.submit(value="fog\n/(/"))
    await change(int(guild), blocklist=("fog", "slur"))
    act = await ada.click(message, RETRY)
    await act.modal()
    await (await act.submit(value="fog\nmist")).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).blocklist == ("fog", "slur", "mist")
