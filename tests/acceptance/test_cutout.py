"""The background removed: by a flag, under a picture, of anybody's; jobs of several stages."""

import io
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from bot.config import Config
from generation.preset import Preset
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, offered, png
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_enlarging import fields
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job, pressed
from tests.fixtures import faces
from tests.fixtures.removers import write_remover


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    faces.write_models(folder)
    write_remover(folder / "background_removal" / "u2net.onnx")
    write_remover(folder / "background_removal" / "BiRefNet-general-epoch_244.onnx")
    return folder


@pytest.fixture
def config(config: Config, models: Path) -> Config:
    named = msgspec.structs.replace(config.models, folders=(models,))
    return msgspec.structs.replace(config, models=named)


async def posted(rig: Rig, message: Json) -> Image.Image:
    [file] = message["attachments"]
    status, content = await rig.control.get(file["url"])
    assert status == 200
    return Image.open(io.BytesIO(content))


async def test_a_flag_makes_a_transparent_picture_that_carries_its_parameters(
    rig: Rig, ada: Person, general: str
) -> None:
    shown = await imagine(ada, general, prompt="a fox --cutout", seed=5)
    picture = await posted(rig, shown)
    assert (picture.format, picture.mode) == ("PNG", "RGBA")
    assert "Rembg: BiRefNet-general-epoch_244" in picture.info["parameters"]
    assert fields(shown)["Background removed by"] == "BiRefNet-general-epoch\\_244"
    again = await finished(
        ada, general, await (await ada.command(general, "replay", job=1)).deferred()
    )
    assert "The same as #1" in again["content"]
    entry = await (await ada.command(general, "history")).response()
    assert "a fox" in str(entry)
    shown = await imagine(ada, general, prompt="a fox --cutout u2net --format webp")
    picture = await posted(rig, shown)
    assert (picture.format, picture.mode) == ("WEBP", "RGBA")
    assert (await last_job(rig)).request.cutout == "u2net"


async def test_what_is_transparent_becomes_no_jpeg_and_it_is_said(
    rig: Rig, ada: Person, general: str
) -> None:
    shown = await imagine(ada, general, prompt="a fox --cutout --format jpeg")
    assert (await posted(rig, shown)).format == "PNG"
    assert "A JPEG has no transparency, so this is a PNG." in shown["content"]


async def test_the_background_of_a_finished_picture_is_removed(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5)
    drawn = (await rig.job(1)).request
    job = await pressed(rig, ada, general, first, "Remove background")
    made = job.request.enlargement
    assert made is not None
    assert (job.action, made.cutout, made.upscaler) == (
        "cutout",
        "BiRefNet-general-epoch_244",
        "None",
    )
    assert job.request.with_(enlargement=None) == drawn


@pytest.mark.parametrize("name", ["Remove background", "Restore faces"])
async def test_anybodys_picture_can_be_finished(
    rig: Rig, ada: Person, bo: Person, general: str, name: str
) -> None:
    message = await ada.say_with_file(general, "photo.png", png("blue", (90, 61)))
    act = await bo.use_on_message(name, message)
    shown = await finished(bo, general, await act.deferred())
    [file] = shown["attachments"]
    assert (file["width"], file["height"]) == (90, 61)
    assert shown["embeds"][0]["description"] == "A picture of 90 × 61 pixels"
    job = await last_job(rig)
    assert job.action == {"Remove background": "cutout", "Restore faces": "faces"}[name]
    assert job.origin.user_id != int(message["author"]["id"])


async def test_a_preset_removes_the_background_and_a_flag_leaves_it(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    await rig.studio.store.presets.write(guild, Preset(name="sticker", cutout="u2net"))
    shown = await imagine(ada, general, preset="sticker")
    assert (await posted(rig, shown)).mode == "RGBA"
    shown = await imagine(ada, general, preset="sticker", prompt="a fox --cutout none")
    assert (await posted(rig, shown)).mode == "RGB"


async def test_what_is_missing_is_named_and_no_button_offers_it(
    rig: Rig, ada: Person, general: str, models: Path
) -> None:
    for file in (models / "background_removal").iterdir():
        file.unlink()
    await rig.studio.catalog.scan()
    act = await ada.command(general, "imagine", prompt="a fox --cutout")
    said = (await act.response())["content"]
    assert "u2net.onnx" in said
    assert "into models/background" in said
    assert "Remove background" not in await offered(ada, await imagine(ada, general))
    act = await ada.command(general, "imagine", prompt="a fox --cutout nobody")
    assert "There is no model “nobody” that removes backgrounds" in str(await act.response())


@pytest.mark.parametrize("stage", ["faces", "cutout"])
async def test_a_job_that_dies_between_its_stages_begins_anew_and_is_delivered_whole(
    rig: Rig, ada: Person, general: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 0.01)
    rig.engine.dies_at = stage
    shown = await imagine(ada, general, prompt="a fox --faces --cutout", count=2, seed=5)
    await delivered(rig, 1)
    job = await rig.job(1)
    assert (job.attempts, len(job.pictures)) == (2, 2)
    assert len(shown["attachments"]) == 2
    assert rig.engine.began == ["1", "1"]
    assert len([m for m in await ada.messages(general) if m["attachments"]]) == 1


async def test_upscale_does_both_too(rig: Rig, ada: Person, general: str) -> None:
    await imagine(ada, general, seed=5)
    await delivered(rig, 1)
    act = await ada.command(general, "upscale", job=1, factor=2, faces=True, cutout=True)
    shown = await finished(ada, general, await act.deferred())
    made = (await last_job(rig)).request.enlargement
    assert made is not None
    assert (made.width, made.faces and made.faces.which) == (256, "all")
    assert made.cutout == "BiRefNet-general-epoch_244"
    assert (await posted(rig, shown)).mode == "RGBA"
