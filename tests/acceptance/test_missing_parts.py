"""A model made of parts: what people are told while one is missing, and once it is there."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Rig, finished
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say
from tests.fixtures import headers

FILES = {
    "diffusion_models/flux-dev.safetensors": "flux-alone",
    "text_encoders/clip_l.safetensors": "clip-l",
    "vae/ae.safetensors": "vae-ae",
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str], None]:
    """Lays a file into the models folder: a known header, whose weights are a hole."""
    known = {header.name: header for header in headers.read()}

    def put(file: str, header: str) -> None:
        known[header].write(tmp_path / "models" / file)

    return put


@pytest.fixture
def config(config: Config, tmp_path: Path, put: Callable[[str, str], None]) -> Config:
    for file, header in FILES.items():
        put(file, header)
    models = msgspec.structs.replace(config.models, folders=(tmp_path / "models",))
    return msgspec.structs.replace(config, models=models)


async def test_what_a_member_sees_while_a_part_is_missing(
    rig: Rig, ada: Person, general: str, put: Callable[[str, str], None], tmp_path: Path
) -> None:
    said = await refused(ada, general, model="flux-dev")
    assert said == (
        "flux-dev can't draw yet, for it has no T5-XXL. The owner of the bot puts these files into"
        " the models folder: text\\_encoders/t5xxl\\_fp16.safetensors."
    )
    assert await rig.studio.jobs.get(1) is None
    shown = await say(ada, general, "models")
    [about] = [one for one in shown["embeds"] if one["title"] == "flux-dev"]
    assert "can't be drawn with yet: text_encoders/t5xxl_fp16.safetensors missing" in str(about)
    # a T5 that was cut short does not do
    put("text_encoders/t5xxl.safetensors", "t5xxl-cut")
    await rig.studio.catalog.scan()
    assert "no T5-XXL" in await refused(ada, general, model="flux-dev")
    put("text_encoders/t5xxl.safetensors", "t5xxl-fp8")
    await rig.studio.catalog.scan()
    message = await imagine(ada, general, model="flux-dev", width=256, height=256)
    job = await rig.job(1)
    assert job.provenance is not None
    assert set(job.provenance.hashes) == {
        *("checkpoint:flux-dev", "text_encoder:clip_l", "text_encoder:t5xxl", "vae:ae")
    }
    click = await ada.click(await ada.message(general, message["id"]), "Parameters")
    said = (await click.response())["content"]
    assert "Module 1: ae, Module 2: clip_l, Module 3: t5xxl" in said
    # what is more precise and came later is not what it was drawn with
    put("text_encoders/t5xxl_fp16.safetensors", "t5xxl-one-name")
    await rig.studio.catalog.scan()
    act = await ada.command(general, "replay", job=1)
    again = await finished(ada, general, await act.deferred())
    assert "The same as #1, to the last bit" in again["content"]
    assert (await rig.job(2)).provenance == job.provenance
    # and where that has gone, it is said what is used instead
    (tmp_path / "models/text_encoders/t5xxl.safetensors").unlink()
    await rig.studio.catalog.scan()
    rig.engine.file_hash = "1" * 64
    act = await ada.command(general, "replay", job=1)
    other = await finished(ada, general, await act.deferred())
    assert "without text\\_encoder:t5xxl, which was used then" in other["content"]
    assert "with text\\_encoder:t5xxl\\_fp16, which was not used then" in other["content"]
