"""What doctor says of the models and of the settings that name them."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from bot.cli.doctor.finding import Finding
from bot.cli.doctor.models import ALIKE_MAX, check_models
from bot.config import Config, ModelsSettings
from generation.enlarging import EnlargingSettings
from generation.model_settings import ModelSettings
from tests.fixtures import headers
from tests.unit.generation.test_catalog import FLUX, SD1, write, write_folder, write_json


async def findings(*folders: Path, **models: Any) -> list[Finding]:
    """All that is found beside the project's own folder."""
    config = Config(file=Path("config.toml"), models=ModelsSettings(folders=folders, **models))
    return [finding async for finding in check_models(config)]


async def mends(*folders: Path, **models: Any) -> dict[str, str]:
    """What is to be mended, by what was found."""
    found = await findings(*folders, **models)
    assert all(str(finding).isprintable() or "\n" in str(finding) for finding in found)
    return {finding.found: finding.mend for finding in found if finding.mend}


async def test_all_is_well(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    settings = {"Dream.safetensors": ModelSettings(steps=9), "demo": ModelSettings(steps=3)}
    assert await mends(tmp_path, default="dream", settings=settings) == {}
    assert await mends(tmp_path, default="DREAM.safetensors") == {}


async def test_a_default_that_names_no_model_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    (found,) = [one for one in await findings(tmp_path, default="dreem") if one.mend]
    assert found.fatal
    assert found.found == 'default = "dreem"'
    assert "Nearest: dream" in found.mend


async def test_a_default_that_cannot_be_drawn_with(tmp_path: Path) -> None:
    write(tmp_path / "large.safetensors", FLUX)
    found = [one for one in await findings(tmp_path, default="large") if one.fatal and one.mend]
    assert [one.found for one in found] == ['default = "large"']


async def test_parts_that_are_missing_are_named_with_their_files(tmp_path: Path) -> None:
    known = {header.name: header for header in headers.read()}
    known["flux-alone"].write(tmp_path / "unet" / "dev.safetensors")
    found = [one for one in await findings(tmp_path, default="dev") if one.mend]
    # a model that nobody names is worth knowing, and the one that all is drawn with is a failure
    assert [(one.found, one.fatal) for one in found] == [
        ("dev (Flux.1)", False),
        ('default = "dev"', True),
    ]
    wanted = "text_encoders/clip_l.safetensors, text_encoders/t5xxl_fp16.safetensors, vae/ae.safe"
    assert all(wanted in one.mend for one in found)
    known["clip-l"].write(tmp_path / "clip" / "clip_l.safetensors")
    known["t5xxl-fp8"].write(tmp_path / "text_encoder" / "t5xxl.safetensors")
    known["vae-ae"].write(tmp_path / "VAE" / "ae.safetensors")
    assert await mends(tmp_path, default="dev") == {}
    settings = {"dev": ModelSettings(text_encoders=("t5xxl", "t5xxl_fp16"))}
    [mend] = (await mends(tmp_path, settings=settings)).values()
    assert mend == "There is no text encoder “t5xxl_fp16”. Nearest: t5xxl, clip_l."


async def test_an_upscaler_that_is_not_there_and_one_that_can_not_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Config(file=Path("config.toml"), enlarging=EnlargingSettings(upscaler="demo-x5"))
    found = [finding async for finding in check_models(config)]
    (told,) = [finding for finding in found if finding.mend]
    assert told.fatal
    assert (told.check, told.found) == ("[enlarging]", 'upscaler = "demo-x5"')
    assert "Nearest: demo-x4" in told.mend
    config = Config(file=Path("config.toml"), enlarging=EnlargingSettings(upscaler="lanczos"))
    assert not [finding async for finding in check_models(config) if finding.mend]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    (told,) = [finding async for finding in check_models(config) if finding.mend]
    assert told.found == "1 that can't be used: spandrel is not installed"
    assert "pip install --no-deps spandrel" in told.mend
    assert not told.fatal


async def test_tables_of_models_that_are_not_there(tmp_path: Path) -> None:
    settings = {"demoo": ModelSettings(steps=9), "demo-pixel-art": ModelSettings(steps=9)}
    found = await mends(tmp_path, settings=settings)
    assert list(found) == ['[models."demoo"]', '[models."demo-pixel-art"]']
    assert "Nearest: demo" in found['[models."demoo"]']


async def test_parts_that_settings_name_and_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    (tmp_path / "dream.darkroom.toml").write_text('vae = "fine"')
    settings = {"demo": ModelSettings(vae="good", sampler="Euler b")}
    found = await mends(tmp_path, settings=settings)
    assert list(found) == ['[models."demo"]', "settings beside dream"]
    assert "no VAE “fine”" in found["settings beside dream"]


async def test_a_folder_that_is_a_file_or_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "dream.safetensors", SD1)
    found = await mends(file, tmp_path / "nowhere")
    assert "is a file" in found[str(file)]
    assert "does not exist" in found[str(tmp_path / "nowhere")]
    lines = [str(finding) for finding in await findings(file)]
    assert not any(line.startswith("ok") and str(file) in line for line in lines)


async def test_two_diffusers_folders_of_one_name_named_themselves(tmp_path: Path) -> None:
    for place in ("a", "b", "c/d"):
        write_folder(tmp_path / place / "sd15")
    folders = [tmp_path / place / "sd15" for place in ("a", "b", "c/d")]
    lines = [one.found for one in await findings(*folders) if one.check == "model"]
    assert [line.partition(" (")[0] for line in lines] == ["b/sd15", "d/sd15", "demo", "sd15"]


async def test_names_are_not_cut_at_a_dot(tmp_path: Path) -> None:
    for place in ("sd-v1.4", "sd-v1.5", "sub/sd-v1.4", "sub/sd-v1.5"):
        write_folder(tmp_path / place)
    models = [one for one in await findings(tmp_path) if one.check == "model"]
    lines = [one.found.partition(" (")[0] for one in models]
    assert lines[-4:] == ["sd-v1.4", "sd-v1.5", "sub/sd-v1.4", "sub/sd-v1.5"]


@pytest.mark.parametrize(
    "file",
    [
        "VAE-approx/model.pt",
        "VAE-approx/vaeapprox-sdxl.pt",
        "VAE-taesd/taesd_decoder.pth",
        "karlo/ViT-L-14_stats.th",
        "deepbooru/model-resnet_custom_v3.pt",
        "torch_deepdanbooru/model-resnet_custom_v3.pt",
        "BLIP/model_base_caption_capfilt_large.pth",
        "adetailer/face_yolov8n.pt",
        "Codeformer/codeformer-v0.1.0.pth",
        "GFPGAN/detection_Resnet50_Final.pth",
        "RealESRGAN/RealESRGAN_x4plus.pth",
        "SwinIR/SwinIR_4x.pth",
        "openpose/body_pose_model.pth",
        "style_models/flux1-redux-dev.safetensors",
        "text_encoders/t5xxl.bin",
        "upscale_models/4x.pth",
        "hypernetworks/style.pt",
        "embeddings/style.pt",
        "A Tool Nobody Knows/weights.pth",
        "Stable-diffusion/Put Stable Diffusion checkpoints here.txt",
        "configs/v1-inference.yaml",
        "checkpoints/put_checkpoints_here",
    ],
)
async def test_what_other_programs_ship_is_nobodys_mistake(tmp_path: Path, file: str) -> None:
    for kind in ("Stable-diffusion", "Lora", "VAE"):
        (tmp_path / kind).mkdir()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"PK")
    write_json(tmp_path / "config.json", samples_save=True)
    assert await mends(tmp_path) == {}


@pytest.mark.parametrize("file", ["Stable-diffusion/a.ckpt", "Lora/people/a.pt", "a.ckpt"])
async def test_a_pickle_where_models_are_is_told_of(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "VAE").mkdir()
    (tmp_path / file).touch()
    assert "Convert it" in (await mends(tmp_path))[str(tmp_path / file)]


async def test_of_many_alike_the_first_are_named(tmp_path: Path) -> None:
    for number in range(ALIKE_MAX + 7):
        (tmp_path / f"{number}.ckpt").touch()
    found = await mends(tmp_path)
    assert len(found) == ALIKE_MAX + 1
    assert any(line.startswith("7 more") for line in found)


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
async def test_a_name_that_is_no_text_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xb1\xed.safetensors")).touch()
    (line,) = await mends(tmp_path)
    assert line.endswith(r"\xb1\xed.safetensors")
    line.encode()
