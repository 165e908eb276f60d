"""`--draft` and `--hd`: a quick picture, and the way up from it by a button."""

import shutil
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from generation.model_settings import ModelSettings
from generation.request_parts import InFull
from playground.person import Person
from tests.acceptance.conftest import Rig, buttons, finished
from tests.acceptance.test_enlarging import fields
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import save_preset

LORA = Path("models/loras/demo-pixel-art.safetensors")


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a LoRA that by its name makes models fast."""
    (tmp_path / "models" / "loras").mkdir(parents=True)
    shutil.copy(LORA, tmp_path / "models" / "loras" / "lcm-lora-sdv1-5.safetensors")
    replace = msgspec.structs.replace
    settings = {"demo": ModelSettings(steps=20)}
    folders = (tmp_path / "models",)
    return replace(config, models=replace(config.models, folders=folders, settings=settings))


async def test_a_draft_is_drawn_by_what_makes_its_model_fast_and_then_in_full(
    rig: Rig, ada: Person, general: str
) -> None:
    usual = await imagine(ada, general, prompt="a fox", seed=5)
    assert "HD" not in buttons(usual)
    drawn = (await rig.job(1)).request
    message = await imagine(ada, general, prompt="a fox --draft", seed=5)
    draft = (await rig.job(2)).request
    assert (draft.steps, draft.sampler, draft.guidance_scale) == (6, "LCM", 1.5)
    assert [use.name for use in draft.loras] == ["lcm-lora-sdv1-5"]
    assert draft.full == InFull(
        *(drawn.model, drawn.steps, drawn.guidance_scale, drawn.sampler, drawn.schedule),
        lora="lcm-lora-sdv1-5",
    )
    assert fields(message)["Mode"] == "draft · lcm-lora-sdv1-5"
    # the same again, to the option
    act = await ada.command(general, "replay", job=2)
    again = await finished(ada, general, await act.deferred())
    assert "The same as #2" in again["content"]
    full = await pressed(rig, ada, general, message, "HD")
    assert (full.action, full.parent, full.request.mode) == ("hd", 2, "hd")
    assert full.request.drawn_size == (256, 256)
    assert (full.request.seed, full.request.steps) == (5, drawn.steps)
    assert (full.request.sampler, full.request.loras, full.request.full) == (
        *(drawn.sampler, ()),
        None,
    )


async def test_hd_is_asked_for_at_once_and_by_a_preset(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, prompt="a fox --hd")
    assert (await rig.job(1)).request.drawn_size == (256, 256)
    assert fields(message)["Mode"] == "HD"
    await save_preset(ada, general, "quick", '[[preset]]\nname = "quick"\nmode = "draft"\n')
    await imagine(ada, general, preset="quick")
    assert (await rig.job(2)).request.steps == 6
    await imagine(ada, general, prompt="a fox --draft off", preset="quick")
    assert (await rig.job(3)).request.mode is None
    await imagine(ada, general, prompt="a fox --hd", preset="quick")
    assert (await rig.job(4)).request.mode == "hd"


class TestNothingIsThere:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        replace = msgspec.structs.replace
        return replace(config, models=replace(config.models, folders=()))

    async def test_it_is_said(self, rig: Rig, ada: Person, general: str) -> None:
        message = await imagine(ada, general, prompt="a fox --draft")
        request = (await rig.job(1)).request
        assert request.full is not None
        assert request.steps < request.full.steps
        assert "Nothing here makes demo fast" in message["content"]
        full = await pressed(rig, ada, general, message, "HD")
        assert full.request.steps == request.full.steps


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a fox --draft please", "--draft takes yes or no, or nothing"),
        ("a fox --draft --hd", "hd"),
        ("a fox --mode quick", "draft, full, hd"),
    ],
)
async def test_bad_input_gets_one_sentence(
    rig: Rig, ada: Person, general: str, prompt: str, said: str
) -> None:
    assert said in await refused(ada, general, prompt=prompt)
