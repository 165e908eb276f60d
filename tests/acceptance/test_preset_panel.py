"""Presets made by menus and short fields."""

import asyncio
from typing import Any

import pytest

from generation.preset import Preset
from generation.request_parts import LoraUse
from playground.control import Control
from playground.person import Act, Person, fields_of
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_long_settings import panel_after
from tests.acceptance.test_retry import RETRY, answer_to, shown
from tests.acceptance.test_servers import guild, say, texts  # noqa: F401 - a fixture


async def kept(rig: Rig, guild: str, name: str = "tiny") -> Preset:  # noqa: F811
    return await rig.studio.store.presets.get(int(guild), name)


async def choose(person: Person, panel: Json, field: str, *values: str, name: str = "tiny") -> Act:
    which = f"darkroom:preset_set:{field}:{name}"
    if field == "preset_roles":
        [which] = [
            f["custom_id"] for f in fields_of(panel["components"]) if field in f["custom_id"]
        ]
    return await person.click(panel, which, list(values))


async def fill(person: Person, panel: Json, part: str, **values: Any) -> Act:
    act = await choose(person, panel, "part", part)
    return await act.submit(**values)


async def test_a_preset_is_made_of_menus_and_short_fields(
    rig: Rig,
    control: Control,
    ada: Person,
    bo: Person,
    general: str,
    guild: str,  # noqa: F811
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    assert await kept(rig, guild) == Preset(name="tiny")
    role = str((await control.add_role(guild, "painters"))["id"])
    for field, value in (("model", "demo"), ("sampler", "Euler"), ("aspect", "landscape 3:2")):
        act = await choose(ada, panel, field, value)
        panel = await panel_after(ada, general, act, panel)
    for part, values in (
        ("texts", {"description": "soft", "template": "{prompt}, ink", "negative_prompt": "fog"}),
        ("numbers", {"steps": "3", "guidance": "2.5", "clip_skip": ""}),
        ("bounds", {"max_steps": "5", "max_count": "2", "max_pixels": ""}),
    ):
        more = {"name": "tiny"} if part == "texts" else {}
        act = await fill(ada, panel, part, **values, **more)
        panel = await panel_after(ada, general, act, panel)
    await rig.restart()
    act = await choose(ada, panel, "preset_roles", role)
    panel = await panel_after(ada, general, act, panel)
    found = await kept(rig, guild)
    assert found.width is not None
    assert found.height is not None
    assert found.width > found.height
    assert found == Preset(
        name="tiny",
        description="soft",
        model="demo",
        template="{prompt}, ink",
        negative_prompt="fog",
        width=found.width,
        height=found.height,
        steps=3,
        guidance=2.5,
        sampler="Euler",
        max_steps=5,
        max_count=2,
        roles=(int(role),),
    )
    said = texts(panel["components"])
    for part in ("Steps**: 3", "Guidance**: 2.5", f"<@&{role}>", "{prompt}, ink"):
        assert part in said.replace("\\", "")
    # what is undecided again, and free for everybody
    for field, chosen in (("preset_roles", ()), ("model", ("-",)), ("aspect", ("-",))):
        act = await choose(ada, panel, field, *chosen)
        panel = await panel_after(ada, general, act, panel)
    found = await kept(rig, guild)
    assert (found.model, found.width, found.height, found.roles) == (None, None, None, ())
    await imagine(bo, general, prompt="a cat", preset="tiny")
    request = (await rig.job(1)).request
    assert (request.prompt, request.steps, request.sampler) == ("a cat, ink", 3, "Euler")


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("numbers", {"steps": "many", "guidance": "", "clip_skip": ""}, "must be a number"),
        ("numbers", {"steps": "2000", "guidance": "3", "clip_skip": ""}, "from 1 to 150"),
        ("size", {"width": "100", "height": "64"}, "multiple of 8"),
        ("texts", {"name": "tiny", "template": "nothing"}, "{prompt}"),
        ("texts", {"name": "a:b", "template": ""}, "a:b"),
        ("texts", {"name": "demo", "description": "x"}, "demo"),
        ("files", {"model": "dmeo"}, "Nearest: demo"),
        ("loras", {"loras": "nothing:0.5"}, "There is no LoRA"),
        ("loras", {"loras": "nothing:99"}, "from -4 to 4"),
        ("bounds", {"max_pixels": "1"}, "4096"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_lost(
    rig: Rig,
    ada: Person,
    general: str,
    guild: str,  # noqa: F811
    part: str,
    values: dict[str, str],
    said: str,
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    act = await fill(ada, panel, "numbers", steps="3", guidance="", clip_skip="")
    panel = await panel_after(ada, general, act, panel)
    message = await answer_to(await fill(ada, panel, part, **values))
    assert (
        said in message["content"].replace(",", "").replace("\\", "") or said in message["content"]
    )
    assert await kept(rig, guild) == Preset(name="tiny", steps=3)
    filled = await shown(await ada.click(message, RETRY))
    assert {name: filled[name] for name in values} == values


async def test_a_renamed_preset_goes_on_by_its_new_name(
    rig: Rig,
    ada: Person,
    general: str,
    guild: str,  # noqa: F811
) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    await say(ada, general, "preset default", name="tiny")
    act = await fill(ada, panel, "texts", name="small, and quick", description="x")
    panel = await panel_after(ada, general, act, panel)
    act = await choose(ada, panel, "sampler", "Euler", name="small, and quick")
    await act.wait_for("INTERACTION_SUCCESS")
    assert (await kept(rig, guild, "small, and quick")).sampler == "Euler"
    settings = await rig.studio.store.settings.guild(int(guild))
    assert settings.default_preset == "small, and quick"


async def test_two_managers_at_once_lose_nothing(
    rig: Rig,
    ada: Person,
    general: str,
    guild: str,  # noqa: F811
) -> None:
    panels = [await say(ada, general, "preset create", name="tiny")]
    panels.append(await say(ada, general, "preset edit", name="tiny"))
    acts = await asyncio.gather(
        choose(ada, panels[0], "sampler", "Euler"), choose(ada, panels[1], "model", "demo")
    )
    for act in acts:
        await act.wait_for("INTERACTION_SUCCESS")
    assert await kept(rig, guild) == Preset(name="tiny", sampler="Euler", model="demo")


async def test_only_managers_change_it(
    rig: Rig,
    control: Control,
    ada: Person,
    bo: Person,
    general: str,
    guild: str,  # noqa: F811
) -> None:
    user = (await bo.state())["me"]["id"]
    role = await control.add_role(guild, "managers", 1 << 5)
    await control.change_member(guild, user, roles=[role["id"]])
    panel = await say(bo, general, "preset create", name="tiny")
    await control.change_member(guild, user, roles=[])
    for act in (
        await choose(bo, panel, "sampler", "Euler"),
        await choose(bo, panel, "part", "numbers"),
        await choose(bo, panel, "preset_roles", role["id"]),
        await bo.click(panel, "As text"),
    ):
        assert "may manage this server" in (await answer_to(act))["content"]
    assert await kept(rig, guild) == Preset(name="tiny")


async def test_the_longest_preset_is_shown(
    rig: Rig,
    ada: Person,
    general: str,
    guild: str,  # noqa: F811
) -> None:
    long = Preset(
        name="*" * 50,
        description="_" * 200,
        template="{prompt}" + "*" * 3990,
        negative_prompt="~" * 4000,
        model="demo",
        loras=tuple(LoraUse("*" * 490 + str(i)) for i in range(8)),
        roles=tuple(range(10**18, 10**18 + 40)),
    )
    await rig.studio.store.presets.write(int(guild), long)
    panel = await say(ada, general, "preset edit", name=long.name)
    assert len(texts(panel["components"])) <= 4000
    assert all(len(f["custom_id"]) <= 100 for f in fields_of(panel["components"]))
    message = await answer_to(await ada.click(panel, "As text"))
    assert "4000 characters" in message["content"]
