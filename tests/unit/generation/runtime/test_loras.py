"""LoRAs act as their files say, layer by layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generation.messages import Generate, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.request import LoraUse
from generation.runtime import loras
from generation.runtime.loading import LoadedModels
from tests.fixtures import models
from tests.fixtures.requests import a_request

CPU = torch.device("cpu")
LAYERS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2"),
    *("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
)


@pytest.fixture(scope="module")
def pipe(tiny: ModelFile) -> Any:
    return LoadedModels(RuntimeSettings(), CPU).checkpoint(tiny)


def layers_with_loras(pipe: Any) -> dict[str, Any]:
    return {name: layer for name, layer in layers_of(pipe).items() if hasattr(layer, "lora_A")}


def work(tiny: ModelFile, *files: Path) -> Generate:
    uses = tuple(LoraUse(name=file.stem, weight=1.0) for file in files)
    return Generate(
        job="1",
        request=a_request(loras=uses),
        checkpoint=tiny,
        loras=tuple(
            ModelFile(kind=ModelKind.LORA, name=file.stem, path=file, family="sd1")
            for file in files
        ),
    )


def layers_of(pipe: Any) -> dict[str, Any]:
    """The layers that a LoRA can change, by the names that kohya gives them."""
    found = {}
    for prefix, network in (("lora_unet", pipe.unet), ("lora_te_text_model", pipe.text_encoder)):
        for name, layer in network.named_modules():
            if name.endswith(LAYERS):
                found[f"{prefix}_{name.replace('.', '_')}"] = layer
    return found


@pytest.mark.parametrize(
    ("ranks", "alphas"),
    [((4,), (4,)), ((4,), (1, 4, 2)), ((4, 8, 2), (1,)), ((4, 8, 2, 1), (2, 4, 1))],
)
def test_every_layer_has_its_own_rank_and_alpha(
    pipe: Any, tiny: ModelFile, tmp_path: Path, ranks: tuple[int, ...], alphas: tuple[float, ...]
) -> None:
    generator = torch.Generator("cpu").manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    expected: dict[str, torch.Tensor] = {}
    for number, (name, layer) in enumerate(layers_of(pipe).items()):
        rank, alpha = ranks[number % len(ranks)], float(alphas[number % len(alphas)])
        out, in_, *kernel = layer.weight.shape
        down = torch.randn((rank, in_, *kernel), generator=generator)
        up = torch.randn((out, rank, *(1 for _ in kernel)), generator=generator)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        expected[name] = (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
        expected[name] *= alpha / rank
    file = tmp_path / "mixed.safetensors"
    save_file(tensors, file)
    with loras.applied(pipe, work(tiny, file)):
        acting = {
            name: layer.get_delta_weight("lora0end")
            for name, layer in layers_with_loras(pipe).items()
        }
    assert acting.keys() == expected.keys()
    for name, delta in acting.items():
        assert torch.allclose(delta, expected[name], rtol=1e-4, atol=1e-4), name


def test_a_lost_device_is_no_matter_of_the_lora(
    pipe: Any, tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    file = models.tiny_lora(tmp_path / "lora.safetensors", tiny.path)
    monkeypatch.setattr(pipe, "load_lora_weights", fault)
    with pytest.raises(torch.AcceleratorError), loras.applied(pipe, work(tiny, file)):
        pass
