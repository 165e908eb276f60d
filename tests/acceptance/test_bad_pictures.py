"""Every way in for pictures, and every kind of file that people hand in there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import discord
import msgspec
import pytest
from discord import app_commands

from bot.config import Config
from bot.interactions import picture_dialogs
from generation.job import JobState
from playground.person import Act, Person
from tests.acceptance.conftest import Json, Rig, finished, png, press
from tests.acceptance.test_edit_words import FILES, KLEIN
from tests.acceptance.test_image_prompts import write_eyes
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_retry import RETRY, answer_to, shown
from tests.fixtures import faces, handed_in, headers
from tests.fixtures.onnx_files import write_wd_tagger
from tests.fixtures.removers import write_remover
from tests.patience import PATIENCE
from tests.unit.generation.test_catalog import write, write_json

Door = Callable[[Person, str, str, bytes], Awaitable[Act]]


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With something for each door."""
    folder = tmp_path / "models"
    known = {header.name: header for header in headers.read()}
    for file, header in FILES.items():
        known[header].write(folder / file)
    write_wd_tagger(folder / "wd14_tagger" / "wd-vit-tagger-v3", side=16)
    faces.write_models(folder)
    write_remover(folder / "background_removal" / "u2net.onnx")
    tensors = {
        "image_proj.proj.weight": (768, 1024),
        "image_proj.norm.weight": (192,),
        "ip_adapter.1.to_k_ip.weight": (64, 192),
    }
    write(folder / "ipadapter" / "ip-adapter_sd15.safetensors", tensors)
    write_eyes(folder)
    net = folder / "controlnet" / "edges"
    write_json(net / "config.json", _class_name="ControlNetModel", cross_attention_dim=192)
    write(net / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    replace = msgspec.structs.replace
    return replace(
        config,
        models=replace(config.models, folders=(folder,)),
        limits=replace(config.limits, pixels=256 * 256, waiting=30),
    )


def by_command(name: str, option: str, **options: Any) -> Door:
    async def door(person: Person, channel: str, file: str, data: bytes) -> Act:
        given = {option: await person.upload(file, data), **options}
        return await person.command(channel, name, **given)

    return door


def by_menu(name: str, **submitted: Any) -> Door:
    """What a menu of messages opens is handed in, where it opens something."""

    async def door(person: Person, channel: str, file: str, data: bytes) -> Act:
        posted = await person.say_with_file(channel, file, data)
        act = await person.use_on_message(name, posted)
        if submitted and await opens(act):
            return await act.submit(**submitted)
        return act

    return door


async def opens(act: Act) -> bool:
    """Whether a dialog is the answer, and not a message."""
    names = {"INTERACTION_MODAL": True, "MESSAGE_CREATE": False}

    def answers(event: Json) -> bool:
        about = event["d"].get("interaction_metadata") or event["d"]
        return event["t"] in names and about.get("id") == act.id

    async with asyncio.timeout(PATIENCE):
        while True:
            for event in filter(answers, act.person.events[act._since :]):
                return names[event["t"]]
            await asyncio.sleep(0.01)


async def masked(person: Person, channel: str, file: str, data: bytes) -> Act:
    upload = await person.upload(file, data)
    start = await person.upload("start.png", png(size=handed_in.SIZE))
    return await person.command(channel, "imagine", prompt="a fox", init_picture=start, mask=upload)


async def blended(person: Person, channel: str, file: str, data: bytes) -> Act:
    upload = await person.upload(file, data)
    first = await person.upload("first.png", png(size=handed_in.SIZE))
    given = {"picture_1": first, "picture_2": upload}
    return await person.command(channel, "blend", prompt="a fox", **given)


async def blended_with(person: Person, channel: str, file: str, data: bytes) -> Act:
    posted = await person.say_with_file(channel, file, data)
    act = await person.use_on_message("Blend with…", posted)
    first = await person.upload("first.png", png(size=handed_in.SIZE))
    return await act.submit(prompt="a fox", more=[first])


async def redrawn(person: Person, channel: str, file: str, data: bytes) -> Act:
    [drawn, *_] = [m for m in await person.messages(channel) if m["components"]]
    act = await press(person, drawn, "Draw a part anew…")
    upload = await person.upload(file, data)
    chosen = {"how": ["fill/whole picture"], "denoising": "0.8"}
    return await act.submit(prompt="a fox", mask=[upload], **chosen)


ADDED: Final = {
    "controlnet": ["edges"],
    "preprocessor": ["canny"],
    "control_mode": ["balanced"],
    "control_scale": "1",
}


async def added(person: Person, channel: str, file: str, data: bytes) -> Act:
    posted = await person.say_with_file(channel, file, data)
    act = await person.use_on_message("Add as control picture", posted)
    if not await opens(act):
        return act
    return await act.submit(job="1", **ADDED)


async def added_upload(person: Person, channel: str, file: str, data: bytes) -> Act:
    [first] = [m for m in await person.messages(channel) if "'text': '#1 ·" in str(m["embeds"])]
    act = await press(person, first, "Add control picture…")
    return await act.submit(picture=[await person.upload(file, data)], **ADDED)


async def redrawn_of_anybody(person: Person, channel: str, file: str, data: bytes) -> Act:
    posted = await person.say_with_file(channel, file, data)
    act = await person.use_on_message("Draw a part anew…", posted)
    chosen = {"how": ["fill/whole picture"], "denoising": "0.8"}
    mask = await person.upload("mask.png", png("white", handed_in.SIZE))
    return await act.submit(prompt="a fox", mask=[mask], **chosen)


async def with_more(person: Person, channel: str, file: str, data: bytes) -> Act:
    posted = await person.say_with_file(channel, "first.png", png(size=handed_in.SIZE))
    act = await person.use_on_message("Edit with words…", posted)
    upload = await person.upload(file, data)
    return await act.submit(prompt="a fox", model=[KLEIN], more=[upload])


FOLLOWED: Final = {
    "prompt": "a fox",
    "controlnet": ["edges"],
    "control_scale": "1",
    "preprocessor": ["auto"],
    "control_mode": ["balanced"],
}
STYLED: Final = {"prompt": "a fox", "ip_adapter": ["ip-adapter_sd15"], "image_weight": "1"}
DOORS: Final[Mapping[str, Door]] = {
    "/imagine": by_command("imagine", "init_picture", prompt="a fox"),
    "/imagine mask": masked,
    "/imagine control": by_command(
        "imagine", "control_picture", prompt="a fox", controlnet="edges"
    ),
    "/grid": by_command("grid", "init_picture", prompt="a fox", x="steps", x_values="1, 2"),
    "/edit": by_command("edit", "picture", prompt="a fox"),
    "/blend": blended,
    "/upscale": by_command("upscale", "picture"),
    "/describe": by_command("describe", "picture"),
    "/control": by_command("control", "picture", preprocessor="canny"),
    "/info": by_command("info", "file"),
    "Upscale": by_menu("Upscale"),
    "Restore faces": by_menu("Restore faces"),
    "Remove background": by_menu("Remove background"),
    "Describe": by_menu("Describe"),
    "Parameters": by_menu("Parameters"),
    "Use as control picture": by_menu("Use as control picture", **FOLLOWED),
    "Use as style": by_menu("Use as style", **STYLED),
    "Use as face or subject": by_menu("Use as face or subject", **STYLED),
    "Edit with words…": by_menu("Edit with words…", prompt="a fox", model=[KLEIN]),
    "Edit with words… more": with_more,
    "Draw a part anew…": redrawn,
    "Draw a part anew… of anybody's": redrawn_of_anybody,
    "Blend with…": blended_with,
    "Add as control picture": added,
    "Add control picture…": added_upload,
}
TYPED: Final = (
    *("/imagine", "/imagine mask", "/imagine control", "/grid", "/edit", "/blend"),
    *("Edit with words…", "Edit with words… more", "Draw a part anew…", "Blend with…"),
    "Draw a part anew… of anybody's",
)
"""Where a prompt is handed in with the picture."""
TEXTS_ALONE: Final = ("/info", "Parameters")
"""Where nobody looks at the pixels."""
EDITS: Final = ("/edit", "Edit with words…", "Edit with words… more")
DRAWN: Final = "drawn"
SAID: Final[Mapping[str, str]] = {
    **dict.fromkeys(handed_in.SOUND, DRAWN),
    "one pixel": "pixel.png has only 1 × 1 pixels",
    "a strip": "strip.png has only 1 × 900 pixels",
    "a long strip": "banner.png is too long and narrow to be used, at 6000 × 9 pixels",
    "GIF that moves": "moves.gif moves: give the frame",
    "APNG that moves": "moves.png moves: give the frame",
    "WebP that moves": "moves.webp moves: give the frame",
    "cut short": "cut.png is no picture that can be read",
    "more pixels than are there": "bomb.png has 900 megapixels; at most 2",
    "too many pixels": "wide.png has 36 megapixels; at most 2",
    "too heavy": "heavy.png has 1.6 MiB; at most 1 MiB",
    "empty": "empty.png is no picture that can be read",
    "no picture": "notes.png is no picture that can be read",
    "HEIC": "phone.heic is no picture that can be read: its format is HEIC",
    "SVG": "logo.svg is no picture that can be read: its format is SVG",
    "TIFF": "scan.tif is no picture that can be read: its format is TIFF",
}
"""What becomes of each kind at every door that is not named below."""
READ: Final[Mapping[str, str]] = {
    **dict.fromkeys(SAID, "carries no generation data"),
    "too heavy": SAID["too heavy"],
    **dict.fromkeys(
        ("GIF that moves", "empty", "no picture", "SVG", "TIFF"),
        "is no PNG, JPEG, WebP or AVIF",
    ),
}
"""The same where only the texts of files are read."""
EDITED: Final[Mapping[str, str]] = {
    "one pixel": "pixel.png is 1 × 1 pixels: a picture to edit has at least 16 a side",
    "a strip": "strip.png is 1 × 900 pixels: a picture to edit has at least 16 a side",
    "a long strip": "banner.png is 6000 × 9 pixels: a picture to edit has at least 16 a side",
}
MASKS: Final = {"turned": "The mask has quite another shape than its picture (64 × 96, and 96 × 64"}
LARGE: Final = {"a long strip": "as large as pictures get: at most 2048 pixels a side"}
ELSEWHERE: Final[Mapping[str, Mapping[str, str]]] = {
    **dict.fromkeys(TEXTS_ALONE, READ),
    **dict.fromkeys(EDITS, EDITED),
    "/grid": dict.fromkeys(handed_in.SOUND, "A grid of 2: 2 pictures."),
    **dict.fromkeys(("/imagine mask", "Draw a part anew…"), MASKS),
    "Draw a part anew… of anybody's": {"turned": "The mask has quite another shape than its"},
    **dict.fromkeys(("/upscale", "Upscale"), LARGE),
}
"""By door, where that differs."""


def expected(door: str, kind: str) -> str:
    """The sentence, or that it is drawn."""
    return ELSEWHERE.get(door, {}).get(kind, SAID[kind])


async def outcome(rig: Rig, act: Act, before: int) -> tuple[str, Json]:
    """What is said to that person alone, or that a job was queued after that one, once it ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            newest = await rig.studio.jobs.newest_id()
            if newest != before:
                job = await rig.until(lambda job: job.ended, newest)
                return (DRAWN if job.state is JobState.FINISHED else str(job.failure)), {}
            for event in act.person.events[act._since :]:
                message = event["d"]
                posted = event["t"] in ("MESSAGE_CREATE", "MESSAGE_UPDATE")
                if posted and message["flags"] & 64 and message["content"]:
                    return message["content"], message
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "door",
    [pytest.param(door, marks=() if door == "/blend" else pytest.mark.slow) for door in DOORS],
)
async def test_every_kind_of_file_at_every_door(
    rig: Rig, ada: Person, general: str, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    if door in ("Draw a part anew…", "Add as control picture", "Add control picture…"):
        width, height = handed_in.SIZE
        await imagine(ada, general, width=width, height=height, count=1)
    wrong = []
    for kind, (file, data) in handed_in.files().items():
        newest = await rig.studio.jobs.newest_id()
        act = await DOORS[door](ada, general, file, data)
        said, message = await outcome(rig, act, newest)
        if expected(door, kind) not in said:
            wrong.append((kind, said))
        if said != DRAWN and door in TYPED and kind not in handed_in.SOUND:
            # nothing that was typed is lost
            assert "a fox" in str(await shown(await ada.click(message, RETRY))), kind
    assert not wrong, "\n".join(f"{kind}: {said}" for kind, said in wrong)


ALIKE: Final[Mapping[str, str]] = {
    **{f"/imagine {name}": "/imagine" for name in ("init_picture", "image_prompt")},
    "/imagine control_picture": "/imagine control",
    "/grid init_picture": "/grid",
    **{f"/edit {one}picture": "/edit" for one in ("", "second_", "third_", "fourth_")},
    **{f"/blend picture_{n}": "/blend" for n in (1, 2, 3, 4)},
    **{f"/{name} picture": f"/{name}" for name in ("upscale", "describe", "control")},
    "/info file": "/info",
}
"""Options of commands, and which door stands for each."""
NO_PICTURES: Final = {
    *("/preset import file", "/mypreset import file"),
    *("Reroll", "Vary"),
}
"""Files of other kinds, and what is done with requests alone."""


async def test_no_way_in_is_left_out(rig: Rig) -> None:
    attachment = discord.AppCommandOptionType.attachment
    found = {
        f"/{command.qualified_name} {parameter.name}"
        for command in rig.client.tree.walk_commands()
        if isinstance(command, app_commands.Command)
        for parameter in command.parameters
        if parameter.type is attachment
    }
    menus = rig.client.tree.get_commands(type=discord.AppCommandType.message)
    found |= {menu.name for menu in menus}
    assert found - ALIKE.keys() - DOORS.keys() == NO_PICTURES


async def test_what_was_typed_to_blend_is_handed_in_again(
    rig: Rig, ada: Person, general: str
) -> None:
    await imagine(ada, general, seed=5)
    text = await ada.upload("notes.png", handed_in.files()["no picture"][1])
    given = {"job_1": 1, "picture_1": text, "share": 0.25, "prompt": "a fox", "private": True}
    said = await answer_to(await ada.command(general, "blend", **given))
    assert "notes.png is no picture that can be read" in said["content"]
    assert "notes.png is not kept with the rest" in said["content"]
    act = await ada.click(said, RETRY)
    assert (await shown(act)).items() >= {"prompt": "a fox", "share": "0.25"}.items()
    again = await answer_to(await act.submit(prompt="a hare", share="2", pictures=[text]))
    assert "share is 2; it must be from 0 to 1" in again["content"]
    act = await ada.click(again, RETRY)
    assert (await shown(act))["prompt"] == "a hare"
    upload = await ada.upload("hat.png", png("blue"))
    answer = await (await act.submit(prompt="a hare", share="0.25", pictures=[upload])).deferred()
    assert (await finished(ada, general, answer))["flags"] & 64
    request = (await rig.job(2)).request
    [prompt] = request.image_prompts
    assert request.prompt == "a hare"
    assert prompt.pictures[0] == (await rig.job(1)).pictures[0].file
    assert prompt.shares == (0.75, 0.25)


async def test_the_start_picture_of_a_refused_grid_is_kept_or_asked_for(
    rig: Rig, ada: Person, general: str
) -> None:
    grid = {"prompt": "a fox --nonsense 1", "x": "steps", "x_values": "1, 2"}
    start = await ada.upload("start.png", png())
    said = await answer_to(await ada.command(general, "grid", init_picture=start, **grid))
    assert "start.png is not kept" not in said["content"]
    act = await ada.click(said, RETRY)
    assert "picture" not in await shown(act)
    proposed = await answer_to(await act.submit(prompt="a fox", x="steps: 1, 2"))
    await ada.click(proposed, "darkroom:grid:draw:1")
    job = await rig.until(lambda job: job.ended)
    assert job.request.init_picture is not None
    text = await ada.upload("notes.png", handed_in.files()["no picture"][1])
    said = await answer_to(await ada.command(general, "grid", init_picture=text, **grid))
    assert "notes.png is not kept with the rest" in said["content"]
    act = await ada.click(said, RETRY)
    await act.modal()
    again = await act.submit(prompt="a fox", x="steps: 1, 2", picture=[start])
    assert "A grid of 2" in (await answer_to(again))["content"]
