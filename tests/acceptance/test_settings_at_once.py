"""Two dialogs of one setting at once: what is left as it was undoes nothing."""

import pytest

from bot.locales import LOCALES, Texts
from playground.person import Act, Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_managers_at_once import LANDSCAPE, dialogs, settings
from tests.acceptance.test_servers import guild, save_preset, say

__all__ = ["guild"]
NEW: dict[str, tuple[Json, Json]] = {
    "quota": ({"value": "10"}, {"value": "20"}),
    "waiting": ({"value": "2"}, {"value": "3"}),
    "press": ({"value": ["anyone"]}, {"value": ["owner"]}),
    "language": ({"value": ["zh-CN"]}, {"value": ["en-US"]}),
    "audit_channel": ({"value": ["GENERAL"]}, {"value": ["OTHER"]}),
    "default_preset": ({"value": "Landscape"}, {"value": "Portrait"}),
}
"""What two managers make of a setting, as they hand it in."""


@pytest.mark.parametrize("name", NEW)
async def test_what_one_leaves_as_it_was_undoes_nothing_and_what_both_change_is_told(
    rig: Rig, ada: Person, general: str, guild: str, name: str
) -> None:
    other = await ada.channel("pictures")
    for preset in ("Landscape", "Portrait"):
        await save_preset(ada, general, preset, LANDSCAPE.replace("Landscape", preset))
    ids = {"GENERAL": general, "OTHER": other}
    first, second = NEW[name]
    if name == "audit_channel":
        first, second = ({"value": [ids[v] for v in new["value"]]} for new in NEW[name])
    panel = await say(ada, general, "settings")

    async def now() -> object:
        return getattr(await settings(rig, guild), name)

    async def hand_in(act: Act, values: Json) -> None:
        await (await act.submit(**values)).wait_for("INTERACTION_SUCCESS")

    [before] = await dialogs(ada, panel, name, 1)
    await hand_in(before, second)
    was = await now()
    one, untouched, both, same = await dialogs(ada, panel, name, 4)
    await hand_in(one, first)
    is_now = await now()
    assert is_now != was
    await hand_in(untouched, second)
    assert await now() == is_now
    await hand_in(same, first)
    assert await now() == is_now
    others: dict[str, Json] = {
        "quota": {"value": "30"},
        "waiting": {"value": "1"},
        "language": {"value": ["-"]},
        "audit_channel": {"value": []},
        "default_preset": {"value": ""},
    }
    if name == "press":
        return  # it has two values alone
    third = others[name]
    message = await (await both.submit(**third)).response()
    assert message["content"] in {Texts(each)("setting_changed") for each in LOCALES}
    assert await now() == is_now
    # who has been told may still have it so
    again = await ada.click(message, message["components"][0]["components"][0]["custom_id"])
    await again.modal()
    await hand_in(again, third)
    assert await now() != is_now


async def test_a_value_of_a_table_that_both_change_is_told(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    role = (await rig.control.add_role(guild, "painters"))["id"]
    panel = await say(ada, general, "settings")
    one, two = await dialogs(ada, panel, "quota_by_role")
    await (await one.submit(role=[role], value="5")).wait_for("INTERACTION_SUCCESS")
    message = await (await two.submit(role=[role], value="7")).response()
    assert "Somebody else has changed that meanwhile" in message["content"]
    assert (await settings(rig, guild)).quota_by_role == {int(role): 5}


async def test_of_two_dialogs_of_ones_own_the_untouched_undoes_nothing(
    rig: Rig, ada: Person, general: str
) -> None:
    panel = await say(ada, general, "settings")
    opened = []
    for _ in range(2):
        opened.append(await ada.click(panel, "darkroom:settings:person", ["language"]))
        await opened[-1].modal()
    await (await opened[0].submit(value=["zh-CN"])).wait_for("INTERACTION_SUCCESS")
    await (await opened[1].submit(value=["-"])).wait_for("INTERACTION_SUCCESS")
    ada_id = int((await ada.state())["me"]["id"])
    assert (await rig.studio.store.settings.person(ada_id)).language == "zh-CN"
