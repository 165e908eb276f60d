"""Parts that the catalogue finds are those that a model is loaded from, whatever the layout."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from generation import model_probe
from generation.catalog import Catalog
from generation.families import LAYOUTS
from generation.families.layout import Layout
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.checkpoints import load_checkpoint
from tests.fixtures import flux, sdxl

TINY = (
    Layout(kind=ModelKind.TEXT_ENCODER, family="clip_l", needs=("^embeddings.token_embedding.",)),
    Layout(
        kind=ModelKind.TEXT_ENCODER,
        family="t5xxl",
        needs=("^encoder.block.0.layer.0.SelfAttention.q.weight$", "^shared.weight$"),
    ),
)
"""Text encoders of no published width."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("flux")
    folder = flux.tiny_flux(root / "whole")
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and of CLIP
        patch.setattr(checkpoints, "CONFIGS", sdxl.configs_of("flux", folder, root / "configs"))
        yield folder


async def found(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """The only checkpoint below a folder, with its parts."""
    monkeypatch.setattr(model_probe, "LAYOUTS", (*TINY, *LAYOUTS))
    catalog = Catalog([root])
    await catalog.scan()
    [model] = catalog.checkpoints
    return model


def check_loads(model: ModelFile, whole: Path) -> None:
    """Each of its text encoders has the words of the model that it was taken from."""
    loaded = load_checkpoint(model, torch.float32)
    for encoder, part in zip(loaded.text_encoders, ("text_encoder", "text_encoder_2"), strict=True):
        weights = sdxl.weights(whole / part)
        name = next(name for name in weights if "token_embedding" in name or "shared" in name)
        words = encoder.get_input_embeddings().weight
        assert torch.equal(words, weights[name].float())
    first = sdxl.weights(whole / "vae")["decoder.conv_in.weight"]
    assert torch.equal(loaded.vae.decoder.conv_in.weight, first.float())


async def test_files_of_parts(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flux.split(whole, tmp_path)
    model = await found(tmp_path, monkeypatch)
    assert (model.carries, sorted(model.parts)) == ((), ["clip_l", "t5xxl", "vae"])
    check_loads(model, whole)


async def test_one_file(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flux.one_file(whole, tmp_path / "checkpoints" / "all.safetensors")
    model = await found(tmp_path, monkeypatch)
    assert (model.carries, model.parts) == (("clip_l", "t5xxl", "vae"), {})
    check_loads(model, whole)


async def test_a_folder_that_lacks_parts(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux.split(whole, tmp_path)
    shutil.rmtree(tmp_path / "diffusion_models")
    shutil.copytree(whole, tmp_path / "folder")
    for part in ("text_encoder_2", "vae"):
        shutil.rmtree(tmp_path / "folder" / part)
    model = await found(tmp_path, monkeypatch)
    assert (model.carries, sorted(model.parts)) == (("clip_l",), ["t5xxl", "vae"])
    check_loads(model, whole)


async def test_a_file_with_the_parts_of_a_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux.split(whole, tmp_path)
    for kind in ("text_encoders", "vae"):
        shutil.rmtree(tmp_path / kind)
    shutil.copytree(whole, tmp_path / "folder")
    catalog = Catalog([tmp_path])
    await catalog.scan()
    model = catalog.get(ModelKind.CHECKPOINT, "model")
    assert model.parts["t5xxl"].path == tmp_path / "folder" / "text_encoder_2"
    check_loads(model, whole)
