"""Checkpoints and ControlNets in single files of true size, as people download them.

The weights are random; what is shown is that each tensor finds its place: the same weights as a
folder of diffusers draw the same picture. 9 GB of memory, 8 GB of disk, two minutes a family.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import Failed, Generate, Picture, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.runtime.parts import Parts
from tests.fixtures import ldm
from tests.fixtures.requests import a_request

CONFIGS = Path("generation/runtime/configs")
FORMAT = {"format": "pt"}
Tensors = dict[str, torch.Tensor]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=["sd1", "sd2"])
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def folder(family: str, tmp_path: Path) -> Iterator[Path]:
    """The same random weights twice: as a diffusers folder and as a single file; a ControlNet."""
    configs, whole = CONFIGS / family, tmp_path / "folder"
    shutil.copytree(configs, whole, ignore=shutil.ignore_patterns("controlnet"))
    unet = random_weights(diffusers.UNet2DConditionModel, configs / "unet")
    vae = random_weights(diffusers.AutoencoderKL, configs / "vae")
    text = random_weights(CLIPTextModel, configs / "text_encoder")
    save_file(unet, whole / "unet" / "diffusion_pytorch_model.safetensors", FORMAT)
    save_file(vae, whole / "vae" / "diffusion_pytorch_model.safetensors", FORMAT)
    save_file(text, whole / "text_encoder" / "model.safetensors", FORMAT)
    words = ldm.clip(text) if family == "sd1" else ldm.openclip(text)
    # sd2 without a word on it predicts v; the folder's scheduler says what the single file does
    said = {"modelspec.prediction_type": "epsilon"}
    rest = ldm.unet(unet) | ldm.vae(vae)
    save_file(rest | words, tmp_path / "single.safetensors", said)
    if family == "sd1":
        # as in merges of 2022: without the part of the names that was added later
        old = {name.replace(".text_model.", "."): tensor for name, tensor in words.items()}
        assert old.keys() != words.keys()
        save_file(rest | old, tmp_path / "old.safetensors", said)
    net = random_weights(diffusers.ControlNetModel, configs / "controlnet")
    save_file(ldm.unet(net, "control_model."), tmp_path / "edges.safetensors")
    yield tmp_path
    shutil.rmtree(tmp_path)


def random_weights(class_: Any, config: Path) -> Tensors:
    """float16, with the spread that keeps signals about as large as they came."""
    settings = json.loads((config / "config.json").read_text())
    with torch.device("meta"):
        if class_ is CLIPTextModel:
            module = CLIPTextModel(CLIPTextConfig(**settings))
        else:
            module = class_.from_config(settings)
    generator = torch.Generator("cpu").manual_seed(0)
    weights: Tensors = {}
    for name, like in module.state_dict().items():
        if not like.is_floating_point():
            continue
        if like.ndim == 1:
            one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            weights[name] = torch.randn(like.shape, generator=generator).mul(0.02).add(one).half()
        else:
            spread = like[0].numel() ** -0.5
            weights[name] = torch.randn(like.shape, generator=generator).mul(spread).half()
    return weights


async def test_single_files_are_the_folder_that_they_were_made_of(
    folder: Path, family: str
) -> None:
    catalog = Catalog([folder])
    await catalog.scan()
    assert catalog.problems == ()
    assert {model.family for model in catalog.all} == {family}
    settings = RuntimeSettings(models_kept=1, preview_every=0)
    engine = ProcessEngine(settings, cache=folder / "cache", hang_after=300)
    try:
        whole = await draw(engine, catalog, "folder")
        single = await draw(engine, catalog, "single")
        assert single.pixels_sha256 == whole.pixels_sha256
        assert is_no_plain_colour(single)
        if family == "sd1":
            old = await draw(engine, catalog, "old")
            assert old.pixels_sha256 == whole.pixels_sha256
        controlled = await draw(engine, catalog, "single", controlnet="edges")
        assert controlled.pixels_sha256 != single.pixels_sha256
    finally:
        await engine.stop()


def test_a_single_vae_file_is_the_folder_that_it_was_made_of(family: str, tmp_path: Path) -> None:
    """As the VAEs that people download: alone, so without the prefix, or as diffusers names it."""
    weights = random_weights(diffusers.AutoencoderKL, CONFIGS / family / "vae")
    prefix = "first_stage_model."
    bare = {name.removeprefix(prefix): tensor for name, tensor in ldm.vae(weights).items()}
    for name, tensors in (("bare", bare), ("prefixed", ldm.vae(weights)), ("flat", weights)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        file = ModelFile(
            kind=ModelKind.VAE, name=name, path=tmp_path / f"{name}.safetensors", family=family
        )
        half = RuntimeSettings(precision="float16")
        vae = Parts(half, torch.device("cpu")).vae(file)
        loaded = vae.state_dict()
        assert loaded.keys() == weights.keys()
        assert all(torch.equal(loaded[name], weights[name]) for name in weights), name
        file.path.unlink()


async def draw(
    engine: ProcessEngine, catalog: Catalog, model: str, controlnet: str = ""
) -> Picture:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    controls = [{"name": controlnet, "picture": sha256}] if controlnet else []
    request = a_request(model=model, width=64, height=64, steps=2, controls=controls)
    work = Generate(
        model,
        request,
        catalog.get(ModelKind.CHECKPOINT, model),
        controlnets=(catalog.get(ModelKind.CONTROLNET, controlnet),) if controlnet else (),
        pictures={sha256: file.getvalue()},
    )
    pictures: list[Picture] = []
    async for event in engine.generate(work):
        assert not isinstance(event, Failed), event
        if isinstance(event, Picture):
            pictures.append(event)
    return pictures[0]


def is_no_plain_colour(picture: Picture) -> bool:
    with Image.open(io.BytesIO(picture.file)) as image:
        return len(set(image.tobytes())) > 100
