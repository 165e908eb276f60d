"""A refiner: named in a prompt, kept with the picture, found again in its generation data."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Rig, finished
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import save_preset
from tests.unit.generation.test_catalog import write, write_folder, write_json


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a checkpoint of the demo model's latents, and one of others."""
    write_folder(tmp_path / "models" / "second")
    large = write_folder(tmp_path / "models" / "large", context_width=2048)
    write_json(
        large / "unet" / "config.json", cross_attention_dim=2048, addition_embed_type="text_time"
    )
    for part in ("text_encoder_2", "tokenizer_2"):
        write(large / part / "model.safetensors", {"weight": (2, 2)})
        write_json(large / part / "vocab.json")
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(tmp_path / "models",)))


async def test_a_refiner_is_named_in_the_prompt(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, prompt="a lighthouse --refiner SECOND:0.6", seed=5)
    request = (await rig.job(1)).request
    assert (request.prompt, request.refiner, request.refiner_switch) == (
        "a lighthouse",
        "second",
        0.6,
    )
    shown = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert shown["Refiner"] == "second from 0.6 of the steps on"
    # the same again, to the option
    act = await ada.command(general, "replay", job=1)
    await finished(ada, general, await act.deferred())
    assert (await rig.job(2)).request == request


async def test_what_a1111_wrote_names_it(rig: Rig, ada: Person, general: str) -> None:
    text = (
        "a fox\nNegative prompt: fog\nSteps: 5, Sampler: Euler, CFG scale: 4, Seed: 7, "
        "Size: 64x64, Model: demo, Refiner: second [0123456789], Refiner switch at: 0.7, "
        "Version: v1.9.0"
    )
    await imagine(ada, general, prompt=text)
    request = (await rig.job(1)).request
    assert (request.refiner, request.refiner_switch, request.prompt) == ("second", 0.7, "a fox")


async def test_a_dialogs_line_and_a_presets_field(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general)
    act = await ada.click(message, "Edit")
    modal = await act.modal()
    assert modal
    lines = "steps: 3\nrefiner: second:0.5"
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters=lines)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(2)).request
    assert (request.refiner, request.refiner_switch) == ("second", 0.5)
    toml = '[[preset]]\nname = "fine"\nrefiner = "second"\nrefiner_switch = 0.4\n'
    await save_preset(ada, general, "fine", toml)
    await imagine(ada, general, preset="fine")
    request = (await rig.job(3)).request
    assert (request.refiner, request.refiner_switch) == ("second", 0.4)
    await imagine(ada, general, prompt="a fox --preset fine --refiner none")
    assert (await rig.job(4)).request.refiner is None


@pytest.mark.parametrize(
    ("refiner", "said"),
    [
        ("demo", "demo is the model itself. Name another checkpoint as refiner"),
        ("nothing:0.5", "There is no model “nothing”. Nearest: second"),
        ("second:2", "refiner_switch is 2; it must be from 0 to 1"),
        ("large:0.5", "large is Stable Diffusion XL and can’t draw the last steps of demo"),
    ],
)
async def test_one_that_does_not_fit_is_refused(
    rig: Rig, ada: Person, general: str, refiner: str, said: str
) -> None:
    assert said in await refused(ada, general, prompt=f"a fox --refiner {refiner}")
    assert await rig.studio.jobs.get(1) is None
