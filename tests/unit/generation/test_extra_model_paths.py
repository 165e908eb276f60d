"""ComfyUI's extra_model_paths.yaml, as its users write it."""

import os
from pathlib import Path

import pytest

from bot.config_file import ConfigError, load_config
from bot.shipped import PROJECT
from generation.catalog import Catalog
from generation.extra_model_paths import ExtraPathsError, read
from tests.unit.generation.test_catalog import SD1, kohya, scan, write

EXAMPLE = """\
# Rename this to extra_model_paths.yaml and ComfyUI will load it

a111:
    base_path: stable-diffusion-webui/

    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    vae: models/VAE
    loras: |
         models/Lora
         models/LyCORIS
    upscale_models: |
                  models/ESRGAN
                  models/RealESRGAN
                  models/SwinIR
    embeddings: embeddings
    hypernetworks: models/hypernetworks
    controlnet: models/ControlNet

#comfyui:
#     base_path: path/to/comfyui/
"""


def folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)


def paths(file: Path, text: str) -> list[str]:
    file.write_text(text)
    return [folder.path.relative_to(file.parent).as_posix() for folder in read(file)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "extra_model_paths.yaml"


def test_the_section_of_a1111_in_comfyuis_example(file: Path) -> None:
    webui = file.parent / "stable-diffusion-webui"
    # what is not there is nobody's mistake: the example names all that may be
    folders(webui, "models/Stable-diffusion", "models/Lora", "models/ESRGAN", "embeddings")
    assert paths(file, EXAMPLE) == [
        "stable-diffusion-webui/models/Stable-diffusion",
        "stable-diffusion-webui/models/Lora",
        "stable-diffusion-webui/models/ESRGAN",
        "stable-diffusion-webui/embeddings",
    ]


def test_home_and_environment_and_no_base(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(file.parent, "home/models/vae", "drive/loras", "near", "far/away")
    monkeypatch.setenv("HOME", str(file.parent / "home"))
    monkeypatch.setenv("USERPROFILE", str(file.parent / "home"))
    monkeypatch.setenv("DRIVE_D", str(file.parent / "drive"))
    text = f"""
one: {{base_path: ~/models, vae: vae}}
two: {{base_path: $DRIVE_D, loras: loras}}
three:
    checkpoints: near
    vae: {file.parent}/far/../far/away
    custom_nodes: near
four:
"""
    assert paths(file, text) == ["home/models/vae", "drive/loras", "near", "far/away"]


def test_folders_of_text_encoders(file: Path) -> None:
    """Of ComfyUI's example: several lines a kind."""
    folders(file.parent, "comfy/models/text_encoders", "comfy/models/clip", "comfy/models/unet")
    text = """
comfyui:
    base_path: comfy/
    clip_vision: models/clip_vision/
    diffusion_models: |
                 models/diffusion_models
                 models/unet
    text_encoders: |
         models/text_encoders/
         models/clip/
"""
    assert paths(file, text) == [
        "comfy/models/unet",
        "comfy/models/text_encoders",
        "comfy/models/clip",
    ]


def test_a_base_that_is_not_there_is_named(file: Path) -> None:
    assert paths(file, "one: {base_path: gone, vae: vae, loras: loras}") == ["gone"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "no valid YAML, line 1"),
        ("- a\n- b", "no sections"),
        ("a: text", "`a` is no section"),
        ("a: {vae: [1, 2]}", "`vae` of `a` is no path"),
        ("a: {base_path: 5}", "`base_path` of `a` is no path"),
        ("a: !!python/object/apply:os.getcwd []", "no valid YAML"),
        ("[" * 5000, "no valid YAML"),
        (" " * 300_000, "larger than"),
    ],
)
def test_what_is_wrong_is_said(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ExtraPathsError, match=said):
        read(file)


def test_the_setting_that_names_it(file: Path) -> None:
    config = file.parent / "config.toml"
    config.write_text(
        '[models]\nfolders = ["mine"]\nextra_model_paths = ["extra_model_paths.yaml"]'
    )
    folders(file.parent, "a", "b", "mine")
    file.write_text("one: {vae: a}\ntwo: {is_default: true, vae: b}\nthree: {vae: mine}")
    found = load_config(config, {}).model_folders
    assert found == (file.parent / "b", PROJECT / "models", file.parent / "mine", file.parent / "a")
    file.write_text("one: 5")
    with pytest.raises(ConfigError, match=r"line 3: .*paths\.yaml: `one` is no section"):
        load_config(config, {})
    file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        load_config(config, {})


async def test_its_folders_are_read(file: Path) -> None:
    webui = file.parent / "stable-diffusion-webui"
    write(webui / "models/Stable-diffusion/dream.safetensors", SD1)
    write(webui / "models/Lora/ink.safetensors", kohya(768))
    folders(webui, "embeddings")
    (webui / "embeddings" / "bad-hands.pt").touch()
    file.write_text(EXAMPLE)
    catalog = Catalog([folder.path for folder in read(file)])
    await catalog.scan()
    assert [model.name for model in catalog.all] == ["dream", "ink"]
    # what A1111's users have there is converted when they want it
    assert [problem.code for problem in catalog.problems] == ["model_convertible"]


async def test_it_is_no_folder(file: Path) -> None:
    file.write_text(EXAMPLE)
    (problem,) = (await scan(file)).problems
    assert problem.code == "folder_is_yaml"
    assert os.fspath(file) in problem.params["folder"]
