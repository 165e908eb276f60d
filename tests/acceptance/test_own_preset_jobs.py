"""What is made with a preset of one's own: named, found again, kept, and nobody else's."""

from typing import Any

from generation.preset import Preset
from generation.request_parts import LoraUse
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished
from tests.acceptance.test_history import entries, history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_own_presets import id_of
from tests.acceptance.test_permissions import answer, granted
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_retry import RETRY, shown
from tests.acceptance.test_servers import preset_of, save_preset, say, texts

OILS = '[[preset]]\nname = "oils"\nsteps = 3\nmax_steps = 3\nroles = [{role}]\n'


async def own(rig: Rig, person: Person, name: str = "tiny", **values: Any) -> None:
    await rig.studio.store.own_presets.write(await id_of(person), Preset(name=name, **values))


def named(message: Json) -> str | None:
    """The preset that an embed names."""
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    return fields.get("Preset")


async def test_its_pictures_name_it_and_are_found_by_it(rig: Rig, bo: Person, general: str) -> None:
    await own(rig, bo, steps=2)
    assert named(await imagine(bo, general, preset="tiny")) == "tiny (personal)"
    await imagine(bo, general)
    direct = await bo.channel("dm")
    await imagine(bo, direct, preset="tiny")
    page = await history(bo, general)
    assert texts(page["components"]).count("· tiny") == 2
    act = await bo.click(page, "darkroom:entry", ["1"])
    assert named(await act.response()) == "tiny (personal)"
    for channel in (general, direct):
        [choice, *_] = await bo.autocomplete(channel, "history", "preset", "ti")
        assert choice["name"] == "tiny · yours"
        for value in (choice["value"], "TINY"):
            assert entries(await history(bo, channel, preset=value)) == ["3", "1"]
    # what it is called now finds what was made with it before
    store = rig.studio.store.own_presets
    await store.write(await id_of(bo), Preset(name="small"), was="tiny")
    assert entries(await history(bo, direct, preset="own:small")) == ["3", "1"]
    # and once it is gone, its old name
    await store.delete(await id_of(bo), "small")
    assert entries(await history(bo, direct, preset="tiny")) == ["3", "1"]


async def test_the_filter_tells_ones_own_from_the_servers_of_that_name(
    rig: Rig, bo: Person, general: str
) -> None:
    await imagine(bo, general, preset="demo")
    await own(rig, bo, "demo", steps=2)
    await imagine(bo, general, preset="demo")
    found = await bo.autocomplete(general, "history", "preset", "demo")
    by_name = {choice["name"]: choice["value"] for choice in found}
    assert entries(await history(bo, general, preset=by_name["demo · yours"])) == ["2"]
    assert entries(await history(bo, general, preset=by_name["demo"])) == ["1"]
    assert entries(await history(bo, general, preset="demo")) == ["2", "1"]


async def test_what_comes_of_it_keeps_it_for_its_owner_alone(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await own(rig, bo, steps=2, max_steps=3)
    first = await imagine(bo, general, preset="tiny")
    for label in ("Reroll", "Vary (subtle)"):
        job = await pressed(rig, bo, general, first, label)
        assert job.preset == (await rig.job(1)).preset, label
    act = await bo.command(await bo.channel("dm"), "replay", job=1)
    await finished(bo, await bo.channel("dm"), await act.deferred())
    assert preset_of(await rig.job(4)) == "tiny"
    # its bounds hold for its owner; who else draws on knows nothing of them, nor of it
    edit = await bo.click(await bo.message(general, first["id"]), "Edit")
    lines = (await shown(edit))["parameters"].replace("steps: 2", "steps: 9")
    said = await (
        await edit.submit(prompt="a fox", negative_prompt="", parameters=lines)
    ).response()
    assert "at most 3" in said["content"]
    edit = await ada.click(await ada.message(general, first["id"]), "Edit")
    sent = await edit.submit(prompt="a fox", negative_prompt="", parameters=lines)
    message = await finished(ada, general, await sent.deferred())
    assert (named(message), (await rig.job(5)).preset) == (None, None)


async def test_a_retry_keeps_it(rig: Rig, bo: Person, general: str) -> None:
    await own(rig, bo, "demo", steps=2)
    rig.engine.failures.append("out_of_memory")
    message = await (await bo.command(general, "imagine", prompt="a fox", preset="demo")).deferred()
    await rig.until(lambda job: job.delivered_at is not None)
    act = await bo.click(await bo.message(general, message["id"]), RETRY)
    values = await shown(act)
    assert "preset: demo" in values["parameters"].split("\n")
    sent = await act.submit(**values)
    again = await finished(bo, general, await sent.deferred())
    assert named(again) == "demo (personal)"
    assert (await rig.job(2)).preset == (await rig.job(1)).preset


async def test_neither_is_taken_for_the_other_of_its_name(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = await granted(control, guild, ada, 0, "painters")
    await save_preset(ada, general, "oils", OILS.format(role=role))
    theirs = await imagine(ada, general, preset="oils")
    await own(rig, bo, "oils", steps=9)
    # one's own of that name opens nothing that was made with the server's
    assert "for those with the role" in await answer(bo, theirs, "Reroll")
    # nor is what was made with one's own bound to the server's roles and bounds
    mine = await imagine(bo, general, preset="oils")
    assert (await rig.job(2)).request.steps == 9
    assert (await pressed(rig, bo, general, mine, "Reroll")).request.steps == 9
    cy = await control.person("cy")
    assert (await pressed(rig, cy, general, mine, "Reroll")).preset is None
    # and it can't be made of what one may not draw with
    said = await say(bo, general, "mypreset create", name="copy", job=1)
    assert "for those with the role" in said["content"]
    await say(ada, general, "mypreset create", name="copy", job=1)
    said = await say(ada, await ada.channel("dm"), "mypreset create", name="more", job=1)
    assert "There is no request" in said["content"] or "again there" in said["content"]


async def test_its_name_is_held_to_the_blocklist(rig: Rig, bo: Person, general: str) -> None:
    guild_id = int((await bo.state())["guilds"][0]["id"])
    await rig.studio.store.settings.change_guild(guild_id, blocklist=("swearword",))
    await own(rig, bo, "swearword", steps=2)
    assert "the name of your preset" in await refused(bo, general, preset="swearword")
    assert await rig.studio.jobs.get(1) is None


async def test_they_are_shown_exported_and_imported(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str
) -> None:
    direct = await bo.channel("dm")
    assert "/mypreset create" in (await say(bo, direct, "mypreset export"))["content"]
    style = rig.studio.catalog.loras[0].name
    await own(rig, bo, steps=2, template="{prompt}, secret", loras=(LoraUse(style, 0.5),))
    assert "secret" in (await say(bo, direct, "mypreset show", name="TINY"))["content"]
    # nobody else's
    assert (
        "There is no preset" in (await say(ada, general, "mypreset show", name="tiny"))["content"]
    )
    assert await ada.autocomplete(general, "mypreset show", "name", "") == []
    exported = await say(bo, general, "mypreset export")
    _, content = await control.get(exported["attachments"][0]["url"])
    user, store = await id_of(bo), rig.studio.store.own_presets
    before = await store.all_of(user)
    await store.delete(user, "tiny")
    said = await say(bo, direct, "mypreset import", file=await bo.upload("p.toml", content))
    assert "One preset is taken over" in said["content"]
    assert await store.all_of(user) == before
    said = await say(bo, direct, "mypreset import", file=await bo.upload("p.toml", content))
    assert "There is a preset" in said["content"]
    # of a server's, without its roles
    toml = '[[preset]]\nname = "tiny"\nsteps = 4\nroles = [5]\n[[preset]]\nname = "b"\n'
    upload = await bo.upload("p.toml", toml.encode())
    said = await say(bo, direct, "mypreset import", file=upload, replace=True)
    assert "Roles were left out" in said["content"]
    assert await store.all_of(user) == [Preset(name="b"), Preset(name="tiny", steps=4)]


async def test_one_is_made_of_a_picture_that_one_may_read(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(ada, general, prompt="a secret", private=True, steps=3)
    await imagine(ada, general, steps=3, guidance=2.5, negative_prompt="fog")
    said = await say(bo, general, "mypreset create", name="theirs", job=1)
    assert "There is no request #1" in said["content"]
    await say(bo, general, "mypreset create", name="theirs", job=2)
    [made] = await rig.studio.store.own_presets.all_of(await id_of(bo))
    assert (made.steps, made.guidance, made.negative_prompt) == (3, 2.5, "fog")
    # one has no roles, in its text neither
    panel = await say(bo, general, "mypreset edit", name="theirs")
    act = await bo.click(panel, "As text")
    assert "roles" not in (await shown(act))["preset"]
    sent = await act.submit(preset='[[preset]]\nname = "theirs"\nroles = [5]')
    assert "has no roles" in (await sent.response())["content"]
