"""Settings that lie beside a model, and how they stand to those of config.toml."""

from pathlib import Path

import pytest

from generation.catalog import Catalog
from generation.completion import complete
from generation.model_settings import ModelSettings
from generation.models import ModelKind
from generation.rules import Rules, settings_of
from tests.unit.generation.catalogs import a_catalog, a_model
from tests.unit.generation.test_catalog import SD1, kohya, scan, write, write_folder

PROJECT = Path(__file__).resolve().parents[3]


async def test_the_demos_settings_lie_beside_it() -> None:
    catalog = await scan(PROJECT / "models")
    request = complete({"prompt": "a cat"}, catalog, Rules())
    assert (request.model, request.steps, request.guidance_scale) == ("demo", 12, 3.0)
    assert request.sampler == "DPM++ 2M"


async def test_a_file_and_a_folder_have_settings_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "dream v1.5.safetensors", SD1)
    (tmp_path / "dream v1.5.darkroom.toml").write_text('\ufeffsampler = "euler a"\r\nwidth = 640')
    (write_folder(tmp_path / "folder") / "darkroom.toml").write_text("steps = 7")
    dream, folder = (await scan(tmp_path)).checkpoints
    assert dream.defaults == ModelSettings(sampler="euler a", width=640)
    assert folder.defaults == ModelSettings(steps=7)


async def test_config_goes_before_what_lies_beside_key_by_key() -> None:
    beside = ModelSettings(steps=7, negative_prompt="fog", guidance_scale=0.0)
    catalog = a_catalog(a_model("Dream", defaults=beside))
    rules = Rules(models={"dream.safetensors": ModelSettings(steps=9)})
    request = complete({"prompt": "a"}, catalog, rules)
    assert (request.steps, request.negative_prompt, request.guidance_scale) == (9, "fog", 0.0)
    assert complete({"prompt": "a", "steps": 3}, catalog, rules).steps == 3
    model = catalog.get(ModelKind.CHECKPOINT, "dream")
    exact = Rules(models={"dream": ModelSettings(steps=1), "Dream": ModelSettings(steps=2)})
    assert settings_of(model, exact).steps == 2
    assert settings_of(model, Rules()) == beside


@pytest.mark.parametrize(
    "content",
    [
        "steps = ",
        "steps = 0",
        'steps = "9"',
        "step = 9",
        'sampler = "no such"',
        "a = " + "[" * 5000,
        "steps = " + "9" * 5000,
        "width = 333",
        "x" * 100_000,
    ],
)
async def test_settings_that_are_wrong_are_named_and_the_model_is_listed(
    tmp_path: Path, content: str
) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    (tmp_path / "dream.darkroom.toml").write_text(content)
    catalog = await scan(tmp_path)
    assert [model.defaults for model in catalog.checkpoints] == [None]
    (wrong,) = catalog.problems
    assert (wrong.code, wrong.path.name) == ("model_settings_wrong", "dream.darkroom.toml")
    assert wrong.params["why"].isprintable()


async def test_settings_beside_what_is_no_checkpoint(tmp_path: Path) -> None:
    write(tmp_path / "ink.safetensors", kohya(768))
    (tmp_path / "ink.darkroom.toml").write_text("steps = 9")
    (tmp_path / "nobody.darkroom.toml").write_text("steps = 9")
    (tmp_path / "ink.toml").write_text("pretrained_model_name_or_path = 'kohya'")
    catalog = await scan(tmp_path)
    assert [lora.name for lora in catalog.loras] == ["ink"]
    assert [problem.code for problem in catalog.problems] == ["model_settings_wrong"]


async def test_settings_that_come_change_and_go_are_seen(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    catalog = Catalog([tmp_path])
    seen = []
    beside = tmp_path / "dream.darkroom.toml"
    for content in (None, "steps = 7", "steps = 11", None):
        if content is None:
            beside.unlink(missing_ok=True)
        else:
            beside.write_text(content)
        await catalog.scan()
        seen.append(catalog.checkpoints[0].defaults)
    assert seen == [None, ModelSettings(steps=7), ModelSettings(steps=11), None]
