"""Pictures made larger: under the result, from any message, and by /upscale."""

import msgspec
import pytest

from generation.preset import Preset
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, offered, png
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job, pressed


def fields(message: Json) -> dict[str, str]:
    return {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}


async def upscale(person: Person, channel: str, **options: object) -> Json:
    act = await person.command(channel, "upscale", **options)
    return await finished(person, channel, await act.deferred())


async def test_the_result_says_what_enlarged_it(rig: Rig, ada: Person, general: str) -> None:
    first = await imagine(ada, general, seed=5)
    act = await ada.click(await ada.message(general, first["id"]), "Upscale")
    shown = await finished(ada, general, await act.deferred())
    said = fields(shown)
    assert said["Size"] == "512 × 512"
    assert said["Upscaler"] == "demo-x4 × 4"
    assert said["Seed"] == "5"
    assert "Second pass" not in said
    parameters = await (
        await ada.click(await ada.message(general, shown["id"]), "Parameters")
    ).response()
    assert "Postprocess upscale by: 4, Postprocess upscaler: demo-x4" in parameters["content"]
    assert "Size: 128x128" in parameters["content"]


async def test_what_comes_of_an_enlarged_picture_is_drawn_as_before(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5)
    act = await ada.click(await ada.message(general, first["id"]), "Upscale")
    large = await finished(ada, general, await act.deferred())
    drawn = (await rig.job(1)).request
    again = await pressed(rig, ada, general, large, "Reroll")
    assert again.request == msgspec.structs.replace(drawn, seed=again.request.seed)
    assert again.request.seed != 5
    varied = await pressed(rig, ada, general, large, "Vary (subtle)")
    assert (varied.request.enlargement, varied.request.seed) == (None, 5)
    assert varied.request.size == (128, 128)
    replayed = await finished(
        ada, general, await (await ada.command(general, "replay", job=2)).deferred()
    )
    assert "The same as #2" in replayed["content"]
    # once more: four times as large as large
    larger = await pressed(rig, ada, general, large, "Upscale")
    assert larger.request.size == (2048, 2048)
    assert larger.request.with_(enlargement=None) == drawn


@pytest.mark.parametrize("door", ["command", "menu"])
async def test_any_picture_is_made_larger(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    picture = png("blue", (90, 61))
    if door == "menu":
        posted = await ada.say_with_file(general, "photo.png", picture)
        act = await bo.use_on_message("Upscale", posted)
        shown = await finished(bo, general, await act.deferred())
    else:
        shown = await upscale(bo, general, picture=await bo.upload("photo.png", picture))
    assert fields(shown) == {"Upscaler": "demo-x4 × 4", "Size": "360 × 244"}
    assert shown["embeds"][0]["description"] == "A picture of 90 × 61 pixels"
    [file] = shown["attachments"]
    assert (file["width"], file["height"]) == (360, 244)
    # nothing is known of how it was drawn
    labels = str(await offered(bo, shown))
    assert "Upscale" in labels
    for nothing in ("Reroll", "Vary", "Start from it"):
        assert nothing not in labels
    await bo.react(shown, "🔁")
    dm = await bo.channel("dm")
    told = await bo.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    assert "was not drawn here" in told["content"]
    entry = await (await bo.command(general, "history")).response()
    assert "A picture of 90 × 61 pixels" in str(entry)


async def test_how_is_said_with_the_command(rig: Rig, ada: Person, general: str) -> None:
    four = await imagine(ada, general, count=4, seed=10)
    await delivered(rig, 1)
    asked = await ada.command(general, "upscale", job=1)
    assert "Say which as number, from 1 to 4" in (await asked.response())["content"]
    shown = await upscale(ada, general, job=1, number=3, factor=1.5, upscaler="lanczos")
    assert fields(shown)["Upscaler"] == "Lanczos × 1.5"
    job = await last_job(rig)
    assert (job.parent, job.parent_picture, job.request.seed) == (1, 2, 12)
    assert job.request.size == (192, 192)
    assert four["id"] != shown["id"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Give either a picture of your own"),
        ({"job": 1, "upscaler": "nmkd"}, "There is no upscaler “nmkd”. Nearest: demo-x4."),
        ({"job": 1, "second_pass": 0.3}, "draws pictures of less than 512 pixels"),
        ({"job": 7}, "#7"),
        ({"job": 1, "number": 2}, "is gone"),
    ],
)
async def test_what_can_not_be_done_is_said(
    rig: Rig, ada: Person, general: str, options: dict[str, object], said: str
) -> None:
    await imagine(ada, general)
    await delivered(rig, 1)
    answer = await (await ada.command(general, "upscale", **options)).response()
    assert said in answer["content"]
    assert await rig.studio.jobs.get(2) is None


async def test_a_second_pass_over_a_picture_of_ones_own_is_refused_before_it_is_fetched(
    rig: Rig, ada: Person, general: str
) -> None:
    file = await ada.upload("photo.png", png("blue", (90, 61)))
    act = await ada.command(general, "upscale", picture=file, second_pass=0.3)
    assert "that picture has none" in (await act.response())["content"]


async def test_a_failure_is_tried_again_without_a_dialog(
    rig: Rig, ada: Person, general: str
) -> None:
    await imagine(ada, general)
    await delivered(rig, 1)
    rig.engine.failures.append("out_of_memory")
    act = await ada.command(general, "upscale", job=1)
    failed = await act.deferred()
    await rig.until(lambda job: job.delivered_at is not None, 2)
    act = await ada.click(await ada.message(general, failed["id"]), "darkroom:retry:2")
    await finished(ada, general, await act.deferred())
    first, again = await rig.job(2), await rig.job(3)
    assert again.request == first.request
    assert len(again.pictures) == 1


async def test_a_preset_says_what_enlarges(rig: Rig, ada: Person, general: str) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    # a second pass is left out by itself where the model would draw its subject into every tile
    preset = Preset(name="soft", upscaler="nearest", second_pass=0.4)
    await rig.studio.store.presets.write(guild, preset)
    first = await imagine(ada, general, preset="soft")
    job = await pressed(rig, ada, general, first, "Upscale")
    made = job.request.enlargement
    assert made is not None
    assert (made.upscaler, made.factor, made.denoising_strength) == ("Nearest", 2.0, 0.0)
