"""Presets of one's own: everywhere, and before those of the server."""

import zipfile
from pathlib import Path

from generation.preset import Preset
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_long_settings import panel_after
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say


async def id_of(person: Person) -> int:
    return int((await person.state())["me"]["id"])


async def test_one_is_made_in_a_direct_message_and_holds_on_a_server(
    rig: Rig, bo: Person, ada: Person, general: str
) -> None:
    direct = await bo.channel("dm")
    panel = await say(bo, direct, "mypreset create", name="tiny")
    assert "name stands under the pictures" in str(panel["components"])
    act = await bo.click(panel, "darkroom:own_preset_set:sampler:tiny", ["Euler"])
    panel = await panel_after(bo, direct, act, panel)
    act = await bo.click(panel, "darkroom:own_preset_set:part:tiny", ["numbers"])
    act = await act.submit(steps="2", guidance="", clip_skip="")
    panel = await panel_after(bo, direct, act, panel)
    store = rig.studio.store.own_presets
    assert await store.all_of(await id_of(bo)) == [Preset(name="tiny", sampler="Euler", steps=2)]
    for channel in (direct, general):
        [first, *_] = await bo.autocomplete(channel, "imagine", "preset", "")
        assert first == {"name": "tiny · yours", "value": "tiny"} | {
            k: v for k, v in first.items() if k not in ("name", "value")
        }
        await imagine(bo, channel, preset="TINY")
    for number in (1, 2):
        request = (await rig.job(number)).request
        assert (request.sampler, request.steps) == ("Euler", 2)
    # theirs alone
    assert await ada.autocomplete(await ada.channel("dm"), "imagine", "preset", "") == []
    assert "There is no preset" in await refused(ada, general, preset="tiny")


async def test_of_two_of_one_name_ones_own_comes_first(rig: Rig, bo: Person, general: str) -> None:
    await rig.studio.store.own_presets.write(await id_of(bo), Preset(name="Demo", steps=2))
    found = await bo.autocomplete(general, "imagine", "preset", "demo")
    assert [choice["name"] for choice in found if choice["value"].casefold() == "demo"] == [
        "Demo · yours"
    ]
    await imagine(bo, general, preset="demo")
    job = await rig.job(1)
    # what came of it is not held to the server's preset of that name
    assert job.request.steps == 2
    assert job.preset is not None
    assert job.preset.own


async def test_ones_own_default(rig: Rig, bo: Person, general: str) -> None:
    store, user = rig.studio.store, await id_of(bo)
    await store.own_presets.write(user, Preset(name="tiny", steps=2))
    direct = await bo.channel("dm")
    await say(bo, direct, "mypreset default", name="tiny")
    await imagine(bo, direct)
    await imagine(bo, general)
    assert [(await rig.job(n)).request.steps for n in (1, 2)] == [2, 2]
    assert "tiny" in (await say(bo, direct, "mypreset list"))["embeds"][0]["description"]
    panel = await say(bo, direct, "mypreset edit", name="tiny")
    act = await bo.click(panel, "darkroom:own_preset_set:part:tiny", ["texts"])
    await (await act.submit(name="small", description="")).wait_for("INTERACTION_SUCCESS")
    assert (await store.settings.person(user)).own_preset == "small"
    panel = await say(bo, direct, "mypreset edit", name="small")
    act = await bo.click(panel, "As text")
    await (await act.submit(preset='[[preset]]\nname = "small"\nsteps = 3')).wait_for(
        "INTERACTION_SUCCESS"
    )
    await imagine(bo, direct)
    assert (await rig.job(3)).request.steps == 3
    await say(bo, direct, "mypreset delete", name="small")
    assert (await store.settings.person(user)).own_preset is None
    await imagine(bo, direct)
    assert (await rig.job(4)).request.steps == 4


async def test_they_are_taken_along_and_deleted(rig: Rig, bo: Person, tmp_path: Path) -> None:
    store, user = rig.studio.store, await id_of(bo)
    await store.own_presets.write(user, Preset(name="tiny", steps=2))
    [part] = [p async for p in store.personal.export(user, tmp_path, max_bytes=10**6)]
    with zipfile.ZipFile(part) as exported:
        assert b'name = "tiny"' in exported.read("presets.toml")
    await store.personal.delete(user)
    assert await store.own_presets.all_of(user) == []


async def test_a_taken_name_and_too_many_are_refused(rig: Rig, bo: Person, general: str) -> None:
    user = await id_of(bo)
    for number in range(50):
        await rig.studio.store.own_presets.write(user, Preset(name=f"p{number}"))
    assert "p0" in (await say(bo, general, "mypreset create", name="P0"))["content"].casefold()
    assert "At most 50" in (await say(bo, general, "mypreset create", name="more"))["content"]
