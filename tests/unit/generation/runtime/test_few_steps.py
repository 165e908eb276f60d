"""Models that read the guidance themselves: what is told them, and diffusers' own pictures."""

import asyncio
import io
import json
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import (
    LatentConsistencyModelPipeline,
)
from PIL import Image

from generation import abilities
from generation.catalog import Catalog
from generation.completion import complete
from generation.families import family_of
from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.rules import Rules
from generation.runtime.networks import unet
from generation.runtime.server import Server
from tests.fixtures import ldm, models, sdxl
from tests.unit.generation.runtime.ends import SETTINGS, Ends

PROMPT = "a red fox in the snow"
SEED = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    small = models.tiny_stable_diffusion(folder / "small")
    name = "LatentConsistencyModelPipeline"
    sdxl.with_guidance_read(small, folder / "models" / "sd1", 12, class_name=name)
    sdxl.with_guidance_read(sdxl.tiny_sdxl(folder / "large"), folder / "models" / "sdxl", 7)
    return folder


@pytest.fixture(scope="module")
def catalog(root: Path) -> Catalog:
    found = Catalog([root / "models"])
    asyncio.run(found.scan())
    assert not found.problems, found.problems
    return found


def asked(catalog: Catalog, model: str, **given: str | int | float) -> GenerationRequest:
    wanted = {"prompt": PROMPT, "model": model, "seed": SEED, "width": 64, "height": 64, **given}
    return complete(wanted, catalog, Rules())


def drawn(catalog: Catalog, request: GenerationRequest, cache: Path) -> np.ndarray:
    ends = Ends()
    server = Server(Configure(SETTINGS, cache), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", request, catalog.get(ModelKind.CHECKPOINT, request.model)))
    assert ends.of(Failed) == []
    (picture,) = ends.of(Picture)
    with Image.open(io.BytesIO(picture.file)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "given"), [("sd1", {}), ("sd1", {"steps": 7, "guidance": 2.5}), ("sdxl", {})]
)
def test_pictures_are_those_of_diffusers(
    catalog: Catalog, root: Path, tmp_path: Path, model: str, given: dict[str, float]
) -> None:
    request = asked(catalog, model, **given)
    ours = drawn(catalog, request, tmp_path)
    class_ = (
        LatentConsistencyModelPipeline if model == "sd1" else diffusers.StableDiffusionXLPipeline
    )
    pipeline = class_.from_pretrained(root / "models" / model, local_files_only=True)
    pipeline.scheduler = diffusers.LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    (theirs,) = pipeline(
        PROMPT,
        width=64,
        height=64,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images
    apart = np.abs(np.asarray(theirs).astype(int) - ours)
    assert len(np.unique(ours)) > 60
    assert (apart.mean() <= 0.1, apart.max() <= 1) == (True, True), (apart.mean(), apart.max())


def test_the_guidance_is_told_and_nothing_is_drawn_twice(catalog: Catalog, tmp_path: Path) -> None:
    usual = asked(catalog, "sd1")
    assert (usual.steps, usual.guidance_scale) == (4, 8.0)
    assert (usual.sampler, usual.schedule) == ("LCM", "Simple")
    picture = drawn(catalog, usual, tmp_path)
    assert (drawn(catalog, asked(catalog, "sd1", guidance=2), tmp_path) != picture).any()
    unwanted = asked(catalog, "sd1", negative_prompt="blurry")
    assert (drawn(catalog, unwanted, tmp_path) == picture).all()
    model = catalog.get(ModelKind.CHECKPOINT, "sd1")
    assert abilities.unread(unwanted, model) == ("negative_unread",)
    assert family_of(model).guidance != "cfg"
    with pytest.raises(Refused, match="and_unread"):
        asked(catalog, "sd1", prompt="a fox AND snow")


@pytest.mark.parametrize("width", [7, 12, 256])
def test_the_guidance_is_told_as_diffusers_tells_it(width: int) -> None:
    tells = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    theirs = tells(None, torch.tensor([7.5 - 1]), embedding_dim=width)
    assert torch.equal(unet.guidance_embedding(7.5, width), theirs)


@pytest.mark.parametrize("layer", ["time_embed", "time_embedding"])
def test_a_single_file_has_the_layer_by_either_name(root: Path, layer: str) -> None:
    folder = root / "models" / "sd1" / "unet"
    weights = sdxl.weights(folder)
    named = "model.diffusion_model.time_embedding.cond_proj.weight"
    tensors = ldm.unet(weights)
    tensors[named.replace("time_embedding", layer)] = tensors.pop(named)
    settings = json.loads((folder / "config.json").read_text())
    config, found = unet.read(tensors, {**settings, "time_cond_proj_dim": None})
    assert config["time_cond_proj_dim"] == settings["time_cond_proj_dim"] == 12
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
