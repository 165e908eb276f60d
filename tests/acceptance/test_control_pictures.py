"""A picture of anybody's, used as control picture from its message's menu."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.config import Config
from bot.interactions import picture_dialogs
from generation.job import JobState
from playground.person import Act, Person, fields_of
from playground.world import Json
from tests.acceptance.conftest import Rig, finished, offered, png, press
from tests.acceptance.test_history import history
from tests.patience import PATIENCE
from tests.unit.generation.test_catalog import write, write_json

CHOSEN: dict[str, Any] = {"preprocessor": ["auto"], "control_mode": ["balanced"]}
"""What a dialog begins with."""


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a ControlNet of the demo model's family."""
    folder = tmp_path / "models" / "controlnet" / "edges"
    write_json(folder / "config.json", _class_name="ControlNetModel", cross_attention_dim=192)
    write(folder / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(tmp_path / "models",)))


@pytest.mark.parametrize("slow", [False, True])
async def test_any_picture_leads_the_drawing(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch, *, slow: bool
) -> None:
    posted = await ada.say_with_file(general, "sketch.png", png("blue", (90, 60)))
    # when slow, the picture takes longer than a dialog may
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", 0 if slow else PATIENCE)
    act = await bo.use_on_message("Use as control picture", posted)
    if slow:
        asked = await act.response()
        await rig.restart()
        act = await bo.click(asked, "Describe the picture")
    modal = await act.modal()
    assert [field["custom_id"] for field in fields_of(modal["components"])] == [
        "prompt",
        "controlnet",
        "preprocessor",
        "control_mode",
        "control_scale",
    ]
    sent = await act.submit(
        prompt="a castle",
        controlnet=["edges"],
        preprocessor=["scribble"],
        control_mode=["prompt"],
        control_scale="0.8, 0.1, 0.9",
    )
    await finished(bo, general, await sent.deferred())
    request = (await rig.job(1)).request
    [use] = request.controls
    assert (request.prompt, use.name, use.scale) == ("a castle", "edges", 0.8)
    assert (use.preprocessor, use.mode, use.start, use.end) == ("scribble", "prompt", 0.1, 0.9)
    assert (await rig.studio.jobs.read_upload(use.picture)).startswith(b"\x89PNG")


async def test_what_has_no_picture_is_refused(
    rig: Rig, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    chat = await bo.say(general, "hello")
    act = await bo.use_on_message("Use as control picture", chat)
    assert "no picture" in (await act.response())["content"]
    broken = await bo.say_with_file(general, "notes.png", b"not a picture at all")
    act = await bo.use_on_message("Use as control picture", broken)
    assert "no picture that can be read" in (await act.response())["content"]
    posted = await bo.say_with_file(general, "sketch.png", png())
    act = await bo.use_on_message("Use as control picture", posted)
    sent = await act.submit(prompt="a castle", controlnet=["edges"], control_scale="9", **CHOSEN)
    assert "must be from 0 to 2" in (await sent.response())["content"]
    for numbers, said in (
        ("1, 0.8, 0.2", "can't begin at 0.8 and end at 0.2"),
        ("1, 0, 1, 2", "write up to three numbers"),
        ("1, x", "is no share of the steps"),
    ):
        act = await bo.use_on_message("Use as control picture", posted)
        sent = await act.submit(
            prompt="a castle", controlnet=["edges"], control_scale=numbers, **CHOSEN
        )
        assert said in (await sent.response())["content"]
    act = await bo.use_on_message("Use as control picture", posted)
    sent = await act.submit(
        prompt="a castle",
        controlnet=["edges"],
        control_scale="1",
        **CHOSEN | {"preprocessor": ["depth"]},
    )
    assert "Depth-Anything-V2" in (await sent.response())["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_more_controlnets_than_a_select_holds_are_named(
    rig: Rig, ada: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them alike in their first hundred characters, which Discord takes for one."""
    alike = "a-very-long-name-" * 7
    for name in [*(f"net-{n:02}" for n in range(40)), f"{alike}-one", f"{alike}-two"]:
        folder = tmp_path / "models" / "controlnet" / name
        write_json(folder / "config.json", _class_name="ControlNetModel", cross_attention_dim=192)
        write(folder / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    await rig.studio.catalog.scan()
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await ada.say_with_file(general, "sketch.png", png())
    act = await ada.use_on_message("Use as control picture", posted)
    await act.modal()
    wrong = await act.submit(
        prompt="a castle",
        controlnet=["net-01"],
        other="net-999",
        control_scale="1",
        preprocessor=["auto"],
    )
    assert "Nearest" in (await wrong.response())["content"]
    act = await ada.use_on_message("Use as control picture", posted)
    await act.modal()
    sent = await act.submit(
        prompt="a castle",
        controlnet=["net-01"],
        other="net-39",
        control_scale="1",
        preprocessor=["auto"],
    )
    await finished(ada, general, await sent.deferred())
    [use] = (await rig.job(1)).request.controls
    assert use.name == "net-39"


async def test_a_union_is_told_the_kind_of_its_picture(
    rig: Rig, ada: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "controlnet" / "all"
    write_json(folder / "config.json", _class_name="ControlNetUnionModel", cross_attention_dim=192)
    write(folder / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    await rig.studio.catalog.scan()
    offered = await ada.autocomplete(general, "imagine", "controlnet", "all:kind=de")
    assert offered[0]["value"] == "all:kind=depth"
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await ada.say_with_file(general, "sketch.png", png())
    act = await ada.use_on_message("Use as control picture", posted)
    sent = await act.submit(
        prompt="a castle", controlnet=["all:kind=depth"], control_scale="0.8", **CHOSEN
    )
    done = await finished(ada, general, await sent.deferred())
    [use] = (await rig.job(1)).request.controls
    assert (use.name, use.kind, use.scale) == ("all", "depth", 0.8)
    shown = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown["ControlNet"] == "all × 0.8 (depth)"
    assert "kind" not in done["content"]
    # nothing tells the kind: it is said what it was taken for
    act = await ada.use_on_message("Use as control picture", posted)
    sent = await act.submit(prompt="a castle", controlnet=["all"], control_scale="1", **CHOSEN)
    done = await finished(ada, general, await sent.deferred())
    assert "it is taken for lines (canny)" in done["content"]
    act = await ada.use_on_message("Use as control picture", posted)
    prompt = "a castle --controlnet all:kind=tile"
    sent = await act.submit(prompt=prompt, controlnet=["all"], control_scale="1", **CHOSEN)
    said = (await sent.response())["content"]
    assert "all takes no control pictures of the kind tile. It takes: openpose, depth" in said


async def test_flags_say_how_a_picture_is_prepared_and_name_several(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await ada.say_with_file(general, "sketch.png", png())

    async def submitted(prompt: str) -> Act:
        act = await ada.use_on_message("Use as control picture", posted)
        return await act.submit(prompt=prompt, controlnet=["edges"], control_scale="1", **CHOSEN)

    done = await finished(ada, general, await (await submitted("a castle")).deferred())
    [use] = (await rig.job(1)).request.controls
    assert (use.preprocessor, use.automatic) == ("canny", True)
    shown = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown["ControlNet"] == "edges × 1 (canny)"
    flags = (
        "--controlnet edges:0.5:pre=scribble:a=20:mode=prompt --controlnet edges:pre=none:end=0.5"
    )
    done = await finished(ada, general, await (await submitted(f"a moat {flags}")).deferred())
    one, two = (await rig.job(2)).request.controls
    assert (one.preprocessor, one.threshold_a, one.mode, one.scale) == (
        "scribble",
        20,
        "prompt",
        0.5,
    )
    assert (two.preprocessor, two.end, two.picture) == ("none", 0.5, one.picture)
    shown = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown["ControlNet"] == "edges × 0.5 (scribble, prompt first), edges × 1 (0 – 0.5)"
    for flag, said in (
        ("edges:pre=depth", "Depth-Anything-V2"),
        ("edges:pre=pose", "yolox_l.onnx"),
        ("edges:pre=cany", "Nearest: canny"),
        ("edges:a=300", "a=300 is no number from 0 to 255"),
        ("edges:mode=both", "Choose one of: balanced, prompt, control"),
    ):
        refused = await (await submitted(f"a keep --controlnet {flag}")).response()
        assert said in refused["content"]
    assert await rig.studio.jobs.get(3) is None


async def test_what_no_file_makes_is_said_before_it_is_drawn(
    rig: Rig, ada: Person, general: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "controlnet" / "depth-net"
    write_json(folder / "config.json", _class_name="ControlNetModel", cross_attention_dim=192)
    write(folder / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    await rig.studio.catalog.scan()
    rig.engine.gate = asyncio.Event()
    picture = await ada.upload("sketch.png", png())
    asked = {"prompt": "a castle", "control_picture": picture}
    await ada.command(general, "imagine", controlnet="edges", **asked)
    act = await ada.command(general, "imagine", controlnet="depth-net", **asked)
    waiting = await act.deferred()
    said = "depth-net reads what depth makes, and is handed the picture as it is. depth needs a "
    said += "depth model: put the folder Depth-Anything-V2-Small-hf, or ComfyUI's "

    def says(update: Json) -> bool:
        return update["id"] == waiting["id"] and said in update["content"]

    await ada.wait_for("MESSAGE_UPDATE", says)
    assert (await rig.job(2)).state is JobState.QUEUED
    rig.engine.gate.set()
    done = await finished(ada, general, waiting)
    assert said in done["content"]
    # also of one that is added
    act = await press(ada, done, "Add control picture…")
    sent = await act.submit(controlnet=["depth-net"], control_scale="1", **CHOSEN)
    assert said in (await finished(ada, general, await sent.deferred()))["content"]


async def test_a_control_picture_is_shown_without_drawing(
    rig: Rig, ada: Person, general: str
) -> None:
    picture = await ada.upload("sketch.png", png("blue", (90, 60)))
    act = await ada.command(general, "control", picture=picture, preprocessor="canny:a=50")
    done = await finished(ada, general, await act.deferred())
    assert len(done["attachments"]) == 1
    job = await rig.job(1)
    made = job.request.enlargement
    assert made is not None
    assert made.control is not None
    assert (made.control.preprocessor, made.control.threshold_a) == ("canny", 50)
    assert (made.width, made.height) == (90, 60)
    shown = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown["Preprocessor"] == "canny"
    for asked, said in (("cany", "Nearest: canny"), ("depth", "Depth-Anything-V2")):
        act = await ada.command(general, "control", picture=picture, preprocessor=asked)
        assert said in (await act.response())["content"]
    assert await rig.studio.jobs.get(2) is None


async def test_what_a_controlnet_was_shown_is_shown_to_who_asks(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    picture = await ada.upload("sketch.png", png("blue", (90, 60)))
    asked = {"prompt": "a keep", "control_picture": picture, "controlnet": "edges"}
    act = await ada.command(general, "imagine", **asked)
    done = await finished(ada, general, await act.deferred())
    assert [each["filename"].count("control") for each in done["attachments"]] == [0]
    await rig.restart()
    act = await press(bo, done, "Control picture")
    answered = await act.response()
    assert [each["filename"] for each in answered["attachments"]] == ["darkroom-1-control-1.png"]
    job = await rig.job(1)
    [seen] = job.controls_seen
    assert answered["content"] == f"-# edges × 1 (canny): {seen.width} × {seen.height}"
    # the same by a reaction, and nowhere where nothing was followed
    dm = await bo.channel("dm")
    await bo.react(done, "👁️")
    told = await bo.wait_for(
        "MESSAGE_CREATE", lambda said: said["channel_id"] == dm and said["attachments"]
    )
    assert [each["filename"] for each in told["attachments"]] == ["darkroom-1-control-1.png"]
    act = await ada.command(general, "imagine", prompt="a dog")
    plain = await finished(ada, general, await act.deferred())
    assert "Control picture" not in await offered(ada, plain)
    # it goes with its job
    assert await rig.studio.jobs.read_upload(seen.file)
    more = await (await bo.click(done, "More…")).response()
    await rig.studio.store.personal.delete_job(1)
    act = await bo.click(more, "Control picture")
    assert "no longer known" in (await act.response())["content"]


async def test_a_flag_shows_what_a_controlnet_is_handed_beside_the_picture(
    rig: Rig, ada: Person, general: str
) -> None:
    picture = await ada.upload("sketch.png", png("blue", (90, 60)))
    prompt = "a keep --show-control --count 2 --controlnet edges"
    act = await ada.command(general, "imagine", prompt=prompt, control_picture=picture)
    done = await finished(ada, general, await act.deferred())
    names = [each["filename"] for each in done["attachments"]]
    assert names == ["darkroom-1-1.png", "darkroom-1-2.png", "darkroom-1-control-1.png"]
    act = await ada.command(general, "imagine", prompt="a keep --show-control")
    said = (await act.response())["content"]
    assert said == "show_control only makes sense together with control_picture."


async def test_a_finished_request_is_given_more_pictures_to_follow(
    rig: Rig, ada: Person, general: str
) -> None:
    act = await ada.command(general, "imagine", prompt="a keep", seed=5)
    done = await finished(ada, general, await act.deferred())

    async def added(**told: Any) -> Act:
        act = await press(ada, done, "Add control picture…")
        await act.modal()
        return await act.submit(controlnet=["edges"], **{**CHOSEN, **told})

    blue, red = [await ada.upload("a.png", png(colour, (90, 60))) for colour in ("blue", "red")]
    sent = await added(picture=[blue], preprocessor=["canny"], control_scale="0.7, 0, 0.5")
    done = await finished(ada, general, await sent.deferred())
    await rig.restart()
    sent = await added(picture=[red], preprocessor=["blur"], control_mode=["control"])
    done = await finished(ada, general, await sent.deferred())
    # without a picture the last one is read once more
    sent = await added(preprocessor=["tile"], control_scale="0.3")
    done = await finished(ada, general, await sent.deferred())
    job = await rig.job(4)
    one, two, three = job.request.controls
    assert (job.request.seed, job.request.prompt, job.action) == (5, "a keep", "add_control")
    assert [use.preprocessor for use in (one, two, three)] == ["canny", "blur", "tile"]
    assert (one.scale, one.end, two.mode, three.scale) == (0.7, 0.5, "control", 0.3)
    assert one.picture != two.picture == three.picture
    # three are as many as there may be
    assert "Add control picture…" not in await offered(ada, done)
    assert "with one more control picture of #3" in done["embeds"][0]["footer"]["text"]


@pytest.mark.parametrize("slow", [False, True])
async def test_anybodys_picture_is_one_more_for_a_request_of_ones_own(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch, *, slow: bool
) -> None:
    posted = await ada.say_with_file(general, "sketch.png", png("blue", (90, 60)))
    act = await bo.use_on_message("Add as control picture", posted)
    assert "None of your last requests" in (await act.response())["content"]
    first = {"prompt": "a keep", "controlnet": "edges:pre=canny", "seed": 5}
    picture = await bo.upload("a.png", png("red"))
    act = await bo.command(general, "imagine", **first, control_picture=picture)
    await finished(bo, general, await act.deferred())
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", 0 if slow else PATIENCE)
    act = await bo.use_on_message("Add as control picture", posted)
    if slow:
        asked = await act.response()
        await rig.restart()
        act = await bo.click(asked, "Add control picture…")
    fields = {field["custom_id"]: field for field in fields_of((await act.modal())["components"])}
    assert fields["job"]["value"] == "1"
    told = {"controlnet": ["edges"], "control_scale": "0.5", **CHOSEN}
    sent = await act.submit(job="#1", **told | {"preprocessor": ["blur"]})
    await finished(bo, general, await sent.deferred())
    job = await rig.job(2)
    one, two = job.request.controls
    assert (job.action, job.parent, job.request.seed) == ("add_control", 1, 5)
    assert [one.preprocessor, two.preprocessor, two.scale] == ["canny", "blur", 0.5]
    assert one.picture != two.picture
    # not for what one may not read, or what is no number
    act = await ada.command(general, "imagine", prompt="a secret", private=True)
    await rig.until(lambda job: job.ended, 3)
    for number, said in (("3", "no request"), ("x", "must be a number")):
        act = await bo.use_on_message("Add as control picture", posted)
        if slow:
            act = await bo.click(await act.response(), "Add control picture…")
        await act.modal()
        sent = await act.submit(job=number, **told)
        assert said in (await sent.response())["content"]
    assert await rig.studio.jobs.get(4) is None


async def test_the_picture_check_holds_for_what_a_controlnet_was_shown(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    await rig.studio.store.settings.change_guild(guild, picture_check="block")
    picture = await ada.upload("sketch.png", png("blue", (90, 60)))
    given = {"controlnet": "edges", "control_picture": picture}
    rig.engine.unsafe = (0.0, 0.9)
    act = await ada.command(general, "imagine", prompt="a keep --show-control", **given)
    done = await finished(ada, general, await act.deferred())
    assert len(done["attachments"]) == 2
    rig.engine.unsafe = (0.9,)
    act = await ada.command(general, "imagine", prompt="a moat --show-control", **given)
    shown = await act.deferred()
    await rig.until(lambda job: job.delivered_at is not None, 2)
    done = await ada.message(general, shown["id"])
    assert done["attachments"] == []
    answered = await (await press(ada, done, "Control picture")).response()
    assert answered["attachments"] == []
    assert "picture check" in answered["content"]


async def test_what_was_handed_in_privately_is_shown_to_its_owner_alone(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    picture = await ada.upload("sketch.png", png("blue", (90, 60)))
    given = {"controlnet": "edges", "control_picture": picture, "private": True}
    act = await ada.command(general, "imagine", prompt="a keep --show-control", **given)
    done = await finished(ada, general, await act.deferred())
    assert len(done["attachments"]) == 2
    own = await (await press(ada, done, "Control picture")).response()
    assert len(own["attachments"]) == 1
    entry = await ada.click(await history(ada, general), "darkroom:entry", ["1"])
    sent = await (await ada.click(await entry.response(), "Send here")).response()
    assert len(sent["attachments"]) == 1
    said = "given to a private request are shown to its owner alone"
    assert said in (await (await press(bo, sent, "Control picture")).response())["content"]
    # nor beside what others draw of it
    act = await press(bo, sent, "Reroll")
    again = await finished(bo, general, await act.deferred())
    assert (await rig.job(2)).request.show_control == "on"
    assert len(again["attachments"]) == 1
    assert said in (await (await press(bo, again, "Control picture")).response())["content"]
