"""Editing by words, as members meet it: by command, menu, button, reaction; before and after."""

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from bot.config import Config
from generation.preset import Preset
from playground.control import Control
from playground.person import Person, fields_of
from tests.acceptance.conftest import Json, Rig, finished, png
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job
from tests.acceptance.test_retry import RETRY, answer_to, shown
from tests.fixtures import headers

KLEIN, KONTEXT, PIX2PIX = "flux-2-klein-4b-fp8", "flux1-dev-kontext", "instruct-pix2pix-00-22000"
FILES = {
    f"diffusion_models/{KLEIN}.safetensors": "flux2-klein-4b-of-comfyui",
    "text_encoders/qwen_3_4b.safetensors": "qwen3-4b",
    "vae/flux2-vae.safetensors": "vae-flux2",
    f"diffusion_models/{KONTEXT}.safetensors": "flux-alone",
    "text_encoders/clip_l.safetensors": "clip-l",
    "text_encoders/t5xxl.safetensors": "t5xxl-fp8",
    "vae/ae.safetensors": "vae-ae",
    f"checkpoints/{PIX2PIX}.safetensors": "sd1-instruct-pix2pix",
}


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With one model of each way to edit."""
    known = {header.name: header for header in headers.read()}
    for file, header in FILES.items():
        known[header].write(tmp_path / "models" / file)
    models = msgspec.structs.replace(config.models, folders=(tmp_path / "models",))
    limits = msgspec.structs.replace(config.limits, pixels=256 * 256)
    return msgspec.structs.replace(config, models=models, limits=limits)


@pytest.fixture
async def demo_alone(rig: Rig, tmp_path: Path) -> None:
    """As on the first day."""
    for file in FILES:
        (tmp_path / "models" / file).unlink()
    await rig.studio.catalog.scan()


async def edit(person: Person, channel: str, **options: Any) -> Json:
    act = await person.command(channel, "edit", **options)
    return await finished(person, channel, await act.deferred())


async def posted(person: Person, channel: str, *colours: str) -> Json:
    """A message with pictures of one's own, the first larger than the others."""
    files = [
        (f"{colour}.png", png(colour, (90, 60) if at == 0 else (64, 64)))
        for at, colour in enumerate(colours)
    ]
    return await person.say_with_files(channel, files)


def names(message: Json) -> list[str]:
    return [file["filename"] for file in message["attachments"]]


async def content(control: Control, file: Json) -> Image.Image:
    _, data = await control.get(file["url"])
    return Image.open(io.BytesIO(data)).convert("RGB")


async def colours(rig: Rig, pictures: tuple[str, ...]) -> list[tuple[int, ...]]:
    """The colour of each kept picture's first pixel."""
    found = []
    for sha256 in pictures:
        with Image.open(io.BytesIO(await rig.studio.jobs.read_upload(sha256))) as picture:
            found.append(tuple(picture.convert("RGB").tobytes()[:3]))
    return found


RED, BLUE, LIME = (255, 0, 0), (0, 0, 255), (0, 255, 0)


async def test_pictures_of_ones_own_are_edited_and_shown_before_and_after(
    rig: Rig, ada: Person, general: str, control: Control
) -> None:
    message = await edit(
        ada,
        general,
        prompt="put the hat of picture 2 on the cat --seed 5",
        picture=await ada.upload("cat.png", png("red", (200, 100))),
        second_picture=await ada.upload("hat.png", png("blue")),
        fourth_picture=await ada.upload("scarf.png", png("lime")),
    )
    job = await rig.job(1)
    assert (job.action, job.parent, job.request.model) == ("edit_words", None, KLEIN)
    assert await colours(rig, job.request.shown) == [RED, BLUE, LIME]
    assert (job.request.third_picture is not None, job.request.seed) == (True, 5)
    assert job.request.denoising_strength == 1
    assert 1.9 < job.request.width / job.request.height < 2.2
    assert names(message) == ["darkroom-1-before.webp", "darkroom-1-1.png"]
    assert "First what it was, then what became of it." in message["content"]
    before = await content(control, message["attachments"][0])
    assert before.getpixel((5, before.height // 4))[0] > 200  # type: ignore[index]
    # what others draw of it keeps its pictures, and shows them
    for label in ("Reroll", "Vary (subtle)"):
        act = await ada.click(message, label)
        again = await finished(ada, general, await act.deferred())
        request = (await last_job(rig)).request
        assert request.shown == job.request.shown
        assert "before" in names(again)[0]
    act = await ada.click(message, "Upscale")
    large = await finished(ada, general, await act.deferred())
    request = (await last_job(rig)).request
    assert request.enlargement is not None
    assert (request.shown, len(names(large))) == (job.request.shown, 1)
    replayed = await (await ada.command(general, "replay", job=1)).deferred()
    assert "The same as #1" in (await finished(ada, general, replayed))["content"]


async def test_a_picture_drawn_here_is_edited_by_its_number(
    rig: Rig, ada: Person, general: str
) -> None:
    await imagine(ada, general, count=2, seed=3)
    await delivered(rig, 1)
    which = await answer_to(await ada.command(general, "edit", prompt="make it night", job=1))
    assert "Say which as number, from 1 to 2" in which["content"]
    await edit(
        ada,
        general,
        prompt="make it night",
        job=1,
        number=2,
        picture=await ada.upload("hat.png", png("blue")),
    )
    first, job = await rig.job(1), await last_job(rig)
    assert (job.parent, job.parent_picture) == (1, 1)
    assert job.request.init_picture == first.pictures[1].file
    assert await colours(rig, job.request.shown[1:]) == [BLUE]
    tree = await (await ada.command(general, "history", tree=1)).response()
    assert "edit by words" in str(tree)


@pytest.mark.parametrize("door", ["button", "reaction", "menu"])
async def test_a_finished_picture_is_edited_through_a_dialog(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    message = await imagine(ada, general, count=4, seed=3)
    await delivered(rig, 1)
    message = await ada.message(general, message["id"])
    if door == "button":
        act = await bo.click(message, "Edit with words")
    elif door == "menu":
        act = await bo.use_on_message("Edit with words…", message)
    else:
        await bo.react(message, "🖌")
        hint = await bo.wait_for("MESSAGE_CREATE", lambda m: bool(m["components"]))
        act = await bo.click(hint, "Edit with words")
    modal = await act.modal()
    fields = {field["custom_id"]: field for field in fields_of(modal["components"])}
    assert list(fields) == ["prompt", "model", "pictures", "more", "image_guidance"]
    assert [option["value"] for option in fields["model"]["options"]] == [KLEIN, KONTEXT, PIX2PIX]
    assert "up to 4 pictures" in fields["model"]["options"][0]["label"]
    chosen = [option.get("default", False) for option in fields["pictures"]["options"]]
    assert chosen == [True, False, False, False]
    assert (fields["pictures"]["max_values"], fields["more"]["max_values"]) == (4, 3)
    if door == "menu":
        # a dialog that was opened before a restart is handed in after it
        await rig.restart()
    act = await act.submit(
        prompt="make it night",
        model=[KLEIN],
        pictures=["2"],
        more=[await bo.upload("hat.png", png("blue"))],
    )
    done = await finished(bo, general, await act.deferred())
    first, job = await rig.job(1), await last_job(rig)
    assert (job.action, job.parent, job.parent_picture) == ("edit_words", 1, 2)
    assert job.request.init_picture == first.pictures[2].file
    assert len(job.request.shown) == 2
    assert "edit by words of Ada’s #1" in done["embeds"][0]["author"]["name"]
    assert names(done)[0] == "darkroom-2-before.webp"


async def test_a_pick_begins_with_that_picture(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, count=4, seed=3)
    await delivered(rig, 1)
    act = await ada.click(await ada.message(general, message["id"]), "darkroom:pick:1:3")
    pick = await finished(ada, general, await act.deferred())
    act = await ada.click(await ada.message(general, pick["id"]), "Edit with words")
    fields = {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}
    chosen = [option["value"] for option in fields["pictures"]["options"] if option.get("default")]
    assert chosen == ["3"]


async def test_anybodys_pictures_are_edited_all_of_them_unless_others_are_chosen(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await posted(ada, general, "red", "blue", "lime", "white", "black")
    act = await bo.use_on_message("Edit with words…", message)
    fields = {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}
    options = fields["pictures"]["options"]
    assert [option.get("default", False) for option in options] == [True] * 4 + [False]
    act = await act.submit(prompt="make it night", model=[KLEIN], pictures=["0", "2"])
    await finished(bo, general, await act.deferred())
    job = await rig.job(1)
    assert await colours(rig, job.request.shown) == [RED, LIME]
    assert (job.parent, job.origin.user_name) == (None, "Bo")
    # one has nothing to choose from
    act = await bo.use_on_message("Edit with words…", await posted(ada, general, "red"))
    fields = {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}
    assert "pictures" not in fields
    act = await act.submit(prompt="make it night", model=[KLEIN])
    await finished(bo, general, await act.deferred())
    assert await colours(rig, (await last_job(rig)).request.shown) == [RED]


async def test_pix2pix_keeps_to_the_picture_by_its_scale(
    rig: Rig, ada: Person, general: str
) -> None:
    act = await ada.use_on_message("Edit with words…", await posted(ada, general, "red"))
    act = await act.submit(prompt="make it night", model=[PIX2PIX], image_guidance="2.25")
    done = await finished(ada, general, await act.deferred())
    shown_fields = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown_fields["Image guidance"] == "2.25"
    await delivered(rig, 1)
    parameters = await (
        await ada.click(await ada.message(general, done["id"]), "Parameters")
    ).response()
    assert "Image CFG scale: 2.25" in parameters["content"]
    request = (await rig.job(1)).request
    assert request.denoising_strength == 1
    # 90 x 60
    assert 1.4 < request.width / request.height < 1.6
    act = await ada.click(await ada.message(general, done["id"]), "darkroom:edit:1")
    assert "image_guidance: 2.25" in (await shown(act))["parameters"]


async def test_a_default_preset_is_not_of_edits(rig: Rig, ada: Person, general: str) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    preset = Preset(name="grainy", template="{prompt}, film grain", model="demo")
    await rig.studio.store.presets.write(guild, preset)
    await rig.studio.store.presets.set_default(guild, "grainy")
    picture = await ada.upload("cat.png", png())
    await edit(ada, general, prompt="make it night", picture=picture)
    job = await rig.job(1)
    assert (job.request.prompt, job.preset) == ("make it night", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Give a picture to edit, or as job"),
        ({"pictures": 2, "model": KONTEXT}, "is shown 1 at most, and you gave 2 pictures: leave"),
        (
            {"pictures": 1, "model": "demo"},
            f"demo does not edit pictures by words. These do: {KLEIN}",
        ),
        ({"pictures": 1, "model": "flux1-kontxt"}, f"Nearest: {KONTEXT}"),
        ({"job": 7}, "#7"),
        ({"pictures": 1, "prompt": "night --colour red"}, "--colour"),
    ],
)
async def test_what_can_not_be_edited_is_said_and_kept(
    rig: Rig, ada: Person, general: str, options: dict[str, Any], said: str
) -> None:
    given = {name: value for name, value in options.items() if name != "pictures"}
    for place in ("picture", "second_picture")[: options.get("pictures", 0)]:
        given[place] = await ada.upload(f"{place}.png", png("red"))
    asked = await ada.command(general, "edit", **{"prompt": "make it night", **given})
    answer = await answer_to(asked)
    assert said in answer["content"]
    assert await rig.studio.jobs.get(1) is None
    act = await ada.click(answer, RETRY)
    entered = await shown(act)
    assert entered["prompt"] == given.get("prompt", "make it night")
    if options.get("pictures"):
        more = {"pictures": ["0", "1"]} if "pictures" in entered else {}
        again = await act.submit(prompt="make it night", model=[KLEIN], **more)
        await finished(ada, general, await again.deferred())
        request = (await rig.job(1)).request
        assert await colours(rig, request.shown) == [RED] * int(options["pictures"])


async def test_more_pictures_than_fit_are_kept_to_choose_from(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await posted(ada, general, "red", "blue")
    act = await ada.use_on_message("Edit with words…", message)
    more = [await ada.upload(f"{n}.png", png("lime")) for n in range(3)]
    answer = await answer_to(
        await act.submit(prompt="all of it", model=[KLEIN], pictures=["0", "1"], more=more)
    )
    assert "takes 4 pictures at most, and you gave 5" in answer["content"]
    act = await ada.click(answer, RETRY)
    fields = {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}
    assert len(fields["pictures"]["options"]) == 5
    act = await act.submit(prompt="all of it", model=[KLEIN], pictures=["1", "4"])
    await finished(ada, general, await act.deferred())
    assert await colours(rig, (await rig.job(1)).request.shown) == [BLUE, LIME]


def moving() -> bytes:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("spin.gif", moving(), "spin.gif moves: give the frame that you mean"),
        ("dot.png", png("red", (1, 1)), "dot.png is 1 × 1 pixels"),
        ("notes.png", b"not a picture at all", "no picture that can be read"),
    ],
)
async def test_pictures_that_are_none_to_edit_are_refused(
    rig: Rig, ada: Person, general: str, name: str, data: bytes, said: str
) -> None:
    message = await ada.say_with_file(general, name, data)
    act = await ada.use_on_message("Edit with words…", message)
    answer = await answer_to(await act.submit(prompt="make it night", model=[KLEIN]))
    assert said in answer["content"]
    # what was typed is there, and another picture can be given with it
    act = await ada.click(answer, RETRY)
    assert (await shown(act))["prompt"] == "make it night"
    upload = await ada.upload("cat.png", png("blue"))
    act = await act.submit(prompt="make it night", model=[KLEIN], more=[upload])
    await finished(ada, general, await act.deferred())
    assert BLUE in await colours(rig, (await rig.job(1)).request.shown)


async def test_what_is_no_picture_message_opens_nothing(
    rig: Rig, ada: Person, general: str
) -> None:
    act = await ada.use_on_message("Edit with words…", await ada.say(general, "hello"))
    assert "no picture" in (await act.response())["content"]


async def test_a_model_that_goes_meanwhile_is_named(
    rig: Rig, ada: Person, general: str, tmp_path: Path
) -> None:
    act = await ada.use_on_message("Edit with words…", await posted(ada, general, "red"))
    await act.modal()
    (tmp_path / "models" / "diffusion_models" / f"{KLEIN}.safetensors").unlink()
    await rig.studio.catalog.scan()
    answer = await answer_to(await act.submit(prompt="make it night", model=[KLEIN]))
    assert f"There is no model “{KLEIN}”" in answer["content"]
    act = await ada.click(answer, RETRY)
    act = await act.submit(prompt="make it night", model=[KONTEXT])
    await finished(ada, general, await act.deferred())
    assert (await rig.job(1)).request.model == KONTEXT


@pytest.mark.usefixtures("demo_alone")
async def test_on_the_first_day_it_is_said_what_can_be_done_instead(
    rig: Rig, ada: Person, general: str
) -> None:
    picture = await ada.upload("cat.png", png())
    asked = await ada.command(general, "edit", prompt="make it night", picture=picture)
    said = (await answer_to(asked))["content"]
    act = await ada.use_on_message("Edit with words…", await posted(ada, general, "red"))
    for sentence in (said, (await act.response())["content"]):
        assert "demo can't edit by words: it can start from a picture (🖼️)" in sentence
        assert "flux-2-klein-4b-fp8.safetensors" in sentence
        assert "models/diffusion_models" in sentence
    message = await imagine(ada, general)
    await delivered(rig, 1)
    assert "Edit with words" not in str((await ada.message(general, message["id"]))["components"])


async def test_private_stays_private(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    """What somebody gave privately is seen by nobody, whatever comes of what they post."""
    upload = await ada.upload("me.png", png("red"))
    await edit(ada, general, prompt="make it night", picture=upload, private=True)
    await delivered(rig, 1)
    denied = await answer_to(await bo.command(general, "edit", prompt="and snow", job=1))
    assert "#1" in denied["content"]
    mine = await edit(ada, general, prompt="and snow", job=1)
    assert (await last_job(rig)).origin.private
    assert names(mine)[0] == "darkroom-2-before.webp"
    # posted for all, neither it nor what others draw of it shows what was given
    page = await (await ada.command(general, "history")).response()
    entry = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    sent = await (await ada.click(entry, "Send here")).response()
    assert names(sent) == ["darkroom-1-1.png"]
    act = await bo.click(sent, "Reroll")
    theirs = await act.deferred()
    await rig.until(lambda job: job.delivered_at is not None, 3)
    found = await rig.job(3)
    assert found.request.init_picture == (await rig.job(1)).request.init_picture
    assert not found.origin.private or theirs["flags"] & 64


@pytest.mark.parametrize("where", ["general", "dm"])
async def test_a_link_that_has_run_out_is_asked_for_anew(
    rig: Rig, ada: Person, control: Control, where: str
) -> None:
    """Discord's are good for a day. What is written on servers it tells no app without being asked
    for that: there the menu is used again.
    """
    channel = await ada.channel(where)
    message = await posted(ada, channel, "red")
    act = await ada.use_on_message("Edit with words…", message)
    await act.modal()
    await control.call("POST", "/clock", {"advance": 2 * 86_400})
    act = await act.submit(prompt="make it night", model=[KLEIN])
    if where == "general":
        answer = await answer_to(act)
        assert "Choose *Edit with words…* on it again" in answer["content"]
        assert (await shown(await ada.click(answer, RETRY)))["prompt"] == "make it night"
        act = await ada.use_on_message(
            "Edit with words…", await ada.message(channel, message["id"])
        )
        act = await act.submit(prompt="make it night", model=[KLEIN])
    await finished(ada, channel, await act.deferred())
    assert await colours(rig, (await rig.job(1)).request.shown) == [RED]
