"""Faces restored: as an option, in presets, and of a finished picture; what is missing is said."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from generation.preset import Preset
from generation.request_parts import Faces
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, offered
from tests.acceptance.test_enlarging import fields
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job, pressed
from tests.fixtures import faces


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    faces.write_models(folder)
    return folder


@pytest.fixture
def config(config: Config, models: Path) -> Config:
    named = msgspec.structs.replace(config.models, folders=(models,))
    return msgspec.structs.replace(config, models=named)


async def test_a_flag_restores_faces_and_the_picture_says_so(
    rig: Rig, ada: Person, general: str
) -> None:
    shown = await imagine(ada, general, prompt="a knight --faces", seed=5)
    assert fields(shown)["Faces"] == "codeformer-v0.1.0, weight 0.5"
    job = await last_job(rig)
    assert job.request.faces_wanted == Faces(model="codeformer-v0.1.0")
    assert job.provenance is not None
    assert "face_restorer:codeformer-v0.1.0" in job.provenance.hashes
    assert "face_detector:face_detection_yunet_2023mar" in job.provenance.hashes
    parameters = await (
        await ada.click(await ada.message(general, shown["id"]), "Parameters")
    ).response()
    assert "Face restoration: CodeFormer, " in parameters["content"]
    again = await finished(
        ada, general, await (await ada.command(general, "replay", job=1)).deferred()
    )
    assert "The same as #1" in again["content"]
    prompt = "a knight --faces 2 --face-model gfpgan --face-strength 0.4"
    shown = await imagine(ada, general, prompt=prompt)
    assert fields(shown)["Faces"] == "GFPGANv1.4, number 2 from the left, × 0.4"


async def test_a_finished_picture_has_its_faces_restored(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5)
    drawn = (await rig.job(1)).request
    job = await pressed(rig, ada, general, first, "Restore faces")
    assert job.action == "faces"
    made = job.request.enlargement
    assert made is not None
    assert (made.picture, made.width, made.height) == (
        (await rig.job(1)).pictures[0].file,
        128,
        128,
    )
    assert made.faces == Faces(model="codeformer-v0.1.0")
    assert job.request.with_(enlargement=None) == drawn
    shown = (await ada.messages(general))[-1]
    assert fields(shown)["Faces"] == "codeformer-v0.1.0, weight 0.5"
    assert "Upscaler" not in fields(shown)
    # what comes of it is drawn as it was
    again = await pressed(rig, ada, general, shown, "Reroll")
    assert again.request.enlargement is None
    replayed = await finished(
        ada, general, await (await ada.command(general, "replay", job=2)).deferred()
    )
    assert "The same as #2" in replayed["content"]


async def test_where_no_face_is_found_it_is_said_and_the_picture_is_there(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.engine.faceless = (0,)
    shown = await imagine(ada, general, prompt="a lighthouse --faces")
    assert "No face was found, so the picture stays as it was." in shown["content"]
    assert len(shown["attachments"]) == 1
    rig.engine.faceless = (1,)
    shown = await imagine(ada, general, prompt="a lighthouse --faces all", count=2)
    assert "No face was found in picture 2" in shown["content"]


async def test_a_preset_restores_faces_and_a_flag_says_otherwise(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    preset = Preset(name="portrait", faces="largest", face_model="GFPGAN", face_strength=0.8)
    await rig.studio.store.presets.write(guild, preset)
    await imagine(ada, general, preset="portrait")
    wanted = (await last_job(rig)).request.faces_wanted
    assert wanted == Faces(which="largest", model="GFPGANv1.4", strength=0.8)
    await imagine(ada, general, preset="portrait", prompt="a fox --faces none")
    assert (await last_job(rig)).request.faces_wanted is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--faces some", "can’t be “some”. It is one of: "),
        ("--face-strength 0.5", "only makes sense together with faces"),
        ("--faces --face-strength 2", "it must be from 0 to 1"),
        ("--faces --face-model nobody", "There is no model “nobody” that restores faces."),
        ("--faces --face-model RestoreFormer", "There is no model “RestoreFormer” that restores"),
    ],
)
async def test_what_can_not_be_restored_so_is_refused(
    rig: Rig, ada: Person, general: str, flags: str, said: str
) -> None:
    act = await ada.command(general, "imagine", prompt=f"a fox {flags}")
    assert said in str(await act.response())


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("facedetection", "from OpenCV’s collection of models, into models/facedetection"),
        ("Codeformer GFPGAN", "puts GFPGANv1.4.pth (AUTOMATIC1111 has it in models/GFPGAN"),
    ],
)
async def test_what_is_missing_is_named_and_no_button_offers_it(
    rig: Rig, ada: Person, general: str, models: Path, gone: str, said: str
) -> None:
    for folder in gone.split():
        for file in (models / folder).iterdir():
            file.unlink()
    await rig.studio.catalog.scan()
    act = await ada.command(general, "imagine", prompt="a fox --faces")
    assert said in (await act.response())["content"]
    assert "Restore faces" not in await offered(ada, await imagine(ada, general))
