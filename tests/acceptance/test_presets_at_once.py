"""A preset that somebody else changes while a dialog is open: nothing of either is lost."""

from bot.features.presets.fields import PARTS
from generation.preset import Preset
from playground.person import Act, Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_preset_panel import choose, kept
from tests.acceptance.test_retry import RETRY, answer_to, shown
from tests.acceptance.test_servers import say

CHANGED = "Somebody else has changed that in the preset tiny"


async def part(person: Person, panel: Json, name: str) -> Act:
    """A dialog of short fields, open."""
    act = await choose(person, panel, "part", name)
    await act.modal()
    return act


async def test_fields_that_only_one_has_changed_are_both_kept(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    one, two = await part(ada, panel, "texts"), await part(ada, panel, "texts")
    was = await shown(one)
    for act, change in ((one, {"description": "soft "}), (two, {"template": "{prompt}, ink"})):
        await (await act.submit(**was | change)).wait_for("INTERACTION_SUCCESS")
    expected = Preset(name="tiny", description="soft", template="{prompt}, ink")
    assert await kept(rig, guild) == expected
    # whoever enters the same as the other does not disagree
    one, two = await part(ada, panel, "numbers"), await part(ada, panel, "numbers")
    for act in (one, two):
        sent = await act.submit(steps="3", guidance="", clip_skip="")
        await sent.wait_for("INTERACTION_SUCCESS")
    assert (await kept(rig, guild)).steps == 3


async def test_a_field_that_both_have_changed_is_not_written_over(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    one, two = await part(ada, panel, "texts"), await part(ada, panel, "texts")
    was = await shown(one)
    await (await one.submit(**was | {"description": "theirs"})).wait_for("INTERACTION_SUCCESS")
    mine = was | {"description": "mine", "template": "{prompt}, long and dear to me"}
    message = await answer_to(await two.submit(**mine))
    assert CHANGED in message["content"]
    assert await kept(rig, guild) == Preset(name="tiny", description="theirs")
    await rig.restart()
    act = await ada.click(message, RETRY)
    assert await shown(act) == mine
    # told of it, they may
    await (await act.submit(**mine)).wait_for("INTERACTION_SUCCESS")
    assert (await kept(rig, guild)).description == "mine"


async def test_a_text_is_not_written_over(rig: Rig, ada: Person, general: str, guild: str) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    text = await ada.click(panel, "As text")
    await text.modal()
    await (await choose(ada, panel, "sampler", "Euler")).wait_for("INTERACTION_SUCCESS")
    mine = '[[preset]]\nname = "tiny"\nsteps = 2'
    message = await answer_to(await text.submit(preset=mine))
    assert CHANGED in message["content"]
    assert await kept(rig, guild) == Preset(name="tiny", sampler="Euler")
    act = await ada.click(message, RETRY)
    assert await shown(act) == {"preset": mine}
    await (await act.submit(preset=mine)).wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny", steps=2)


async def test_one_that_is_deleted_leaves_what_was_typed(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    texts, numbers = await ada.click(panel, "As text"), await part(ada, panel, "numbers")
    await texts.modal()
    await rig.studio.store.presets.delete(int(guild), "tiny")
    entered = dict.fromkeys(PARTS["numbers"], "") | {"steps": "7"}
    message = await answer_to(await numbers.submit(**entered))
    assert "That preset was deleted" in message["content"]
    assert await shown(await ada.click(message, RETRY)) == entered
    mine = '[[preset]]\nname = "tiny"\nsteps = 2'
    message = await answer_to(await texts.submit(preset=mine))
    assert "That preset was deleted" in message["content"]
    act = await ada.click(message, RETRY)
    assert await shown(act) == {"preset": mine}
    # handed in once more it is a new one
    await (await act.submit(preset=mine)).wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny", steps=2)


async def test_one_that_is_renamed_meanwhile_is_still_the_one(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    one, two, three = [await part(ada, panel, "texts") for _ in range(3)]
    numbers = await part(ada, panel, "numbers")
    text = await ada.click(panel, "As text")
    await text.modal()
    was = await shown(one)
    await (await one.submit(**was | {"name": "small"})).wait_for("INTERACTION_SUCCESS")
    sent = await two.submit(**was | {"template": "{prompt}, ink"})
    await sent.wait_for("INTERACTION_SUCCESS")
    await (await numbers.submit(steps="7")).wait_for("INTERACTION_SUCCESS")
    expected = Preset(name="small", template="{prompt}, ink", steps=7)
    assert await kept(rig, guild, "small") == expected
    # both have renamed it
    message = await answer_to(await three.submit(**was | {"name": "other"}))
    assert CHANGED.replace("tiny", "small") in message["content"]
    message = await answer_to(await text.submit(preset='[[preset]]\nname = "tiny"'))
    assert CHANGED.replace("tiny", "small") in message["content"]
    act = await ada.click(message, RETRY)
    await (await act.submit(preset='[[preset]]\nname = "tiny"')).wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny")


async def test_roles_that_another_has_chosen_are_not_taken_back(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    roles = [str((await rig.control.add_role(guild, name))["id"]) for name in ("a", "b")]
    panel = await say(ada, general, "preset create", name="tiny")
    other = await say(ada, general, "preset edit", name="tiny")
    await (await choose(ada, panel, "preset_roles", roles[0])).wait_for("INTERACTION_SUCCESS")
    # from a panel of before
    act = await choose(ada, other, "preset_roles", roles[1])
    assert "other roles for the preset tiny" in (await answer_to(act))["content"]
    assert (await kept(rig, guild)).roles == (int(roles[0]),)


async def test_what_is_opened_again_takes_nothing_back_that_another_has_changed(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    presets = rig.studio.store.presets
    await presets.write(int(guild), Preset(name="tiny", steps=20, guidance=7.0))
    panel = await say(ada, general, "preset edit", name="tiny")
    act = await part(ada, panel, "numbers")
    entered = await shown(act)
    message = await answer_to(await act.submit(**entered | {"steps": "abc"}))
    await presets.write(int(guild), Preset(name="tiny", steps=20, guidance=9.0), was="tiny")
    act = await ada.click(message, RETRY)
    assert (await shown(act))["guidance"] == "7"
    await (await act.submit(**entered | {"steps": "5"})).wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny", steps=5, guidance=9.0)
    # nor does whoever is told of one field take back another
    act = await part(ada, panel, "numbers")
    entered = await shown(act)
    await presets.write(int(guild), Preset(name="tiny", steps=6, guidance=8.0), was="tiny")
    mine = entered | {"steps": "7"}
    message = await answer_to(await act.submit(**mine))
    assert CHANGED in message["content"]
    act = await ada.click(message, RETRY)
    await (await act.submit(**mine)).wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny", steps=7, guidance=8.0)


async def test_a_text_that_is_opened_again_is_not_written_over_either(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    act = await ada.click(panel, "As text")
    await act.modal()
    mine = '[[preset]]\nname = "tiny"\nsteps = '
    message = await answer_to(await act.submit(preset=mine + "2000"))
    theirs = Preset(name="tiny", sampler="Euler")
    await rig.studio.store.presets.write(int(guild), theirs, was="tiny")
    act = await ada.click(message, RETRY)
    await act.modal()
    message = await answer_to(await act.submit(preset=mine + "2"))
    assert CHANGED in message["content"]
    assert await kept(rig, guild) == theirs
