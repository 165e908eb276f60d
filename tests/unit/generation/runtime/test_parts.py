"""Which models are kept, and that one which is not kept is gone."""

import json
import shutil
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.messages import RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.runtime.checkpoints import load_checkpoint, look_what_it_predicts
from generation.runtime.faults import JobError
from generation.runtime.parts import Parts
from tests.fixtures.models import tiny_controlnet
from tests.unit.generation.runtime.conftest import checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def three(tiny: ModelFile, tmp_path: Path) -> list[ModelFile]:
    return [
        checkpoint(Path(shutil.copytree(tiny.path, tmp_path / name))) for name in ("a", "b", "c")
    ]


def load(models: Parts, file: ModelFile) -> Any:
    """Something that dies with the model."""
    return weakref.ref(models.checkpoint(file).denoiser.conv_in.weight)


@pytest.mark.slow
def test_the_model_used_longest_ago_leaves_memory(three: list[ModelFile]) -> None:
    models = Parts(RuntimeSettings(models_kept=2), CPU)
    a, b = load(models, three[0]), load(models, three[1])
    assert load(models, three[0])() is a()
    load(models, three[2])
    assert b() is None
    assert a() is not None
    models.free()
    assert a() is None


def test_a_controlnet_does_not_push_out_its_checkpoint(three: list[ModelFile]) -> None:
    folder = tiny_controlnet(three[0].path.parent / "edges", three[0].path)
    edges = ModelFile(kind=ModelKind.CONTROLNET, name="edges", path=folder, family="sd1")
    models = Parts(RuntimeSettings(models_kept=1), CPU)
    first = load(models, three[0])
    net = weakref.ref(models.controlnet(edges))
    assert first() is not None
    assert models.controlnet(edges) is net()
    load(models, three[1])
    assert first() is None
    assert net() is not None


def test_a_model_that_was_changed_is_another(three: list[ModelFile]) -> None:
    models = Parts(RuntimeSettings(models_kept=1), CPU)
    first = load(models, three[0])
    (three[0].path / "unet" / "notes.json").write_text("{}")
    assert load(models, three[0])() is not first()


def test_a_model_that_is_gone(three: list[ModelFile]) -> None:
    shutil.rmtree(three[0].path)
    with pytest.raises(JobError, match="model_broken"):
        Parts(RuntimeSettings(), CPU).checkpoint(three[0])


def test_files_of_half_size_are_found_by_their_name(three: list[ModelFile]) -> None:
    for part in ("unet", "vae", "text_encoder"):
        for file in (three[0].path / part).glob("*.safetensors"):
            file.rename(file.with_suffix(".fp16.safetensors"))
    models = Parts(RuntimeSettings(models_kept=2), CPU)
    renamed, plain = [models.checkpoint(file).denoiser.conv_in.weight for file in three[:2]]
    assert torch.equal(renamed, plain)


def test_pickles_are_not_loaded(three: list[ModelFile]) -> None:
    for file in (three[0].path / "unet").glob("*.safetensors"):
        torch.save({}, file.with_suffix(".bin"))
        file.unlink()
    with pytest.raises(JobError, match="model_broken"):
        Parts(RuntimeSettings(), CPU).checkpoint(three[0])


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_the_precision_is_the_settings(tiny: ModelFile, precision: Any) -> None:
    model = Parts(RuntimeSettings(precision=precision), CPU).checkpoint(tiny)
    for part in model.parts:
        assert part.dtype == getattr(torch, precision)


@pytest.mark.parametrize(
    ("share", "kind"), [(0.98, "epsilon"), (0.07, "v_prediction"), (torch.nan, "v_prediction")]
)
def test_a_denoiser_is_asked_what_it_predicts(
    tiny: ModelFile, monkeypatch: pytest.MonkeyPatch, share: float, kind: str
) -> None:
    model = load_checkpoint(tiny, torch.float32)

    def answer(latents: torch.Tensor, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(sample=latents * share + 0.3)

    monkeypatch.setattr(model.denoiser, "forward", answer)
    look_what_it_predicts(model)
    assert model.noise_schedule["prediction_type"] == kind


def test_the_demo_model_is_found_to_predict_v() -> None:
    demo = checkpoint(Path("models/diffusers/demo"))
    model = load_checkpoint(demo, torch.float32)
    model.noise_schedule["prediction_type"] = "epsilon"
    look_what_it_predicts(model)
    assert model.noise_schedule["prediction_type"] == "v_prediction"


def test_parts_that_nothing_needs_may_be_gone(three: list[ModelFile]) -> None:
    """As people delete them to save room, though model_index.json lists them."""
    index = three[0].path / "model_index.json"
    listed = json.loads(index.read_text())
    listed["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    listed["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index.write_text(json.dumps(listed))
    shutil.rmtree(three[0].path / "scheduler")
    shutil.rmtree(three[0].path / "tokenizer")
    models = Parts(RuntimeSettings(models_kept=2), CPU)
    bare, whole = [models.checkpoint(file) for file in three[:2]]
    one, other = [model.conditioner.prompts("a cat", "", 4) for model in (bare, whole)]
    assert torch.equal(one.negative.at(0).cross, other.negative.at(0).cross)


def test_a_tensor_that_is_missing_is_named(three: list[ModelFile]) -> None:
    (file,) = (three[0].path / "text_encoder").glob("*.safetensors")
    tensors = load_file(file)
    missing = next(name for name in tensors if "layers.1" in name)
    del tensors[missing]
    save_file(tensors, file)
    with pytest.raises(JobError) as refused:
        Parts(RuntimeSettings(), CPU).checkpoint(three[0])
    assert refused.value.code == "model_broken"
    assert "text encoder (CLIP) lacks 1 tensors" in refused.value.params["why"]
