"""A model that edits pictures, as members meet it."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Rig, png
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_retry import answer_to
from tests.acceptance.test_servers import say
from tests.fixtures import headers

FILES = {
    "diffusion_models/flux1-kontext-dev.safetensors": "flux-alone",
    "text_encoders/clip_l.safetensors": "clip-l",
    "text_encoders/t5xxl.safetensors": "t5xxl-fp8",
    "vae/ae.safetensors": "vae-ae",
}


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    known = {header.name: header for header in headers.read()}
    for file, header in FILES.items():
        known[header].write(tmp_path / "models" / file)
    models = msgspec.structs.replace(config.models, folders=(tmp_path / "models",))
    limits = msgspec.structs.replace(config.limits, pixels=256 * 256)
    return msgspec.structs.replace(config, models=models, limits=limits)


async def test_a_picture_is_edited_in_its_own_shape(rig: Rig, ada: Person, general: str) -> None:
    upload = await ada.upload("portrait.png", png("red", (200, 300)))
    message = await imagine(
        ada, general, model="flux1-kontext-dev", init_picture=upload, denoising=0.4, steps=2
    )
    job = await rig.job(1)
    assert (job.request.width, job.request.height) == (208, 304)
    assert "denoising changes nothing" in str(message)
    shown = await say(ada, general, "models")
    assert "edits pictures" in str(shown["embeds"])


async def test_a_second_picture_is_for_models_that_are_shown_several(
    rig: Rig, ada: Person, general: str
) -> None:
    pictures = {
        name: await ada.upload(f"{name}.png", png(colour))
        for name, colour in (("picture", "red"), ("second_picture", "blue"))
    }
    given = {"prompt": "both", "model": "flux1-kontext-dev", **pictures}
    said = (await answer_to(await ada.command(general, "edit", **given)))["content"]
    assert "is shown 1 at most, and you gave 2 pictures" in said
    assert await rig.studio.jobs.get(1) is None
