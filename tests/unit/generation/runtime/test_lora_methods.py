"""What each method of training does to a layer, against what LyCORIS itself computes.

`tests/data/loras/lycoris.safetensors` was made with lycoris-lora 4.1.3: by method and layer the
layer's weights, the LoRA's tensors, an input, and what the layer answers with the LoRA at strength
1 and at -0.5 (for those whose strength means the same there).
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.runtime.lora_deltas import Decomposed, LowRank, Rotation
from generation.runtime.merging import LoraMerge, Merger

GOLDENS = load_file("tests/data/loras/lycoris.safetensors")
CASES = sorted({name.rsplit("/", 1)[0].removesuffix("/lora") for name in GOLDENS})
KINDS: dict[str, Callable[[], torch.nn.Module]] = {
    "linear": lambda: torch.nn.Linear(12, 16),
    "conv": lambda: torch.nn.Conv2d(8, 16, 3, padding=1),
    "pixel": lambda: torch.nn.Conv2d(8, 16, 1),
    "group": lambda: torch.nn.GroupNorm(2, 8),
    "layer": lambda: torch.nn.LayerNorm(8),
}


def layer_of(case: str) -> torch.nn.Module:
    layer = KINDS[case.split("/")[1]]()
    layer.load_state_dict({name: GOLDENS[f"{case}/{name}"].clone() for name in ("weight", "bias")})
    return layer


def lora_of(case: str, file: Path) -> LoraMerge:
    prefix = f"{case}/lora/"
    tensors = {
        f"lora_unet_layer.{name.removeprefix(prefix)}": tensor
        for name, tensor in GOLDENS.items()
        if name.startswith(prefix)
    }
    save_file(tensors, file)
    return LoraMerge(file, case)


@pytest.mark.parametrize("case", CASES)
def test_a_merged_layer_answers_as_with_lycoris(case: str, tmp_path: Path) -> None:
    layer, use = layer_of(case), lora_of(case, tmp_path / "lora.safetensors")
    merger, networks = Merger(), {"unet": torch.nn.ModuleDict({"layer": layer})}
    shown = GOLDENS[f"{case}/input"]
    with torch.no_grad():
        before = layer(shown)
        (report,) = merger.apply(networks, [use])
        assert (report.applied, report.layers, report.unused) == (1, 1, ())
        torch.testing.assert_close(layer(shown), GOLDENS[f"{case}/output"], rtol=1e-4, atol=2e-5)
        if f"{case}/output-half" in GOLDENS:
            merger.apply(networks, [LoraMerge(use.path, case, -0.5)])
            torch.testing.assert_close(
                layer(shown), GOLDENS[f"{case}/output-half"], rtol=1e-4, atol=2e-5
            )
        merger.apply(networks, [])
        assert torch.equal(layer(shown), before)


def test_every_method_is_among_the_goldens() -> None:
    methods = {case.split("/")[0] for case in CASES}
    assert len(methods) == 22
    assert len(CASES) == 59


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("dora", "oft"))])
def test_half_the_strength_is_half_the_change(case: str, tmp_path: Path) -> None:
    """A1111's and ComfyUI's meaning of a strength, for the methods that are not linear."""
    use = lora_of(case, tmp_path / "lora.safetensors")
    weights = {}
    for strength in (0.0, 0.5, 1.0):
        layer = layer_of(case)
        networks = {"unet": torch.nn.ModuleDict({"layer": layer})}
        Merger().apply(networks, [LoraMerge(use.path, case, strength)])
        weights[strength] = layer.get_parameter("weight").detach()
    half = (weights[0.0] + weights[1.0]) / 2
    torch.testing.assert_close(weights[0.5], half, rtol=1e-5, atol=1e-6)


def test_a_linear_layer_and_a_convolution_of_one_pixel_take_each_others() -> None:
    down, up = torch.randn(4, 8), torch.randn(6, 4)
    flat = torch.randn(6, 8)
    kernel = flat[:, :, None, None]
    for change in (
        LowRank(down, up, None, 0.5),
        LowRank(down[:, :, None, None], up[:, :, None, None], None, 0.5),
    ):
        for weight in (flat, kernel):
            assert change.fits(tuple(weight.shape))
            found = change.of(weight, 2.0)
            assert found.shape == weight.shape
            torch.testing.assert_close(found.flatten(1), up @ down)
    by_input = Decomposed(LowRank(down, up, None, 1.0), torch.rand(1, 8, 1, 1), None)
    torch.testing.assert_close(by_input.of(flat, 1.0), by_input.of(kernel, 1.0).flatten(1))


def test_dora_follows_the_paper() -> None:
    """m (W + BA) / ||W + BA||, the norm of each column or of each row; section 4 of 2402.09353."""
    weight, down, up = torch.randn(6, 8), torch.randn(4, 8), torch.randn(6, 4)
    low_rank = LowRank(down, up, None, 0.25)
    changed = weight + 0.25 * up @ down
    by_input, by_output = torch.rand(1, 8), torch.rand(6, 1)
    for magnitude, axis in ((by_input, 0), (by_output, 1)):
        expected = torch.empty(6, 8)
        for row in range(6):
            for column in range(8):
                line = changed[:, column] if axis == 0 else changed[row]
                of_line = magnitude.flatten()[column if axis == 0 else row]
                expected[row, column] = of_line * changed[row, column] / line.square().sum().sqrt()
        found = weight + Decomposed(low_rank, magnitude, None).of(weight, 1.0)
        torch.testing.assert_close(found, expected)
    # peft's are by output, whatever their shape
    as_peft = Decomposed(low_rank, by_output.flatten(), True)
    as_peft_for_convolutions = Decomposed(low_rank, by_output.view(1, 6, 1, 1), True)
    expected = Decomposed(low_rank, by_output, None).of(weight, 1.0)
    assert torch.equal(as_peft.of(weight, 1.0), expected)
    assert torch.equal(as_peft_for_convolutions.of(weight, 1.0), expected)


@pytest.mark.parametrize(
    "blocks", [(2, 3, 3), (3, 4, 3), (2, 4, 8, 2), (70, 4, 2, 2), (5, 2), (6,)]
)
def test_a_rotation_that_does_not_divide_the_outputs_does_not_fit(blocks: tuple[int, ...]) -> None:
    assert not Rotation(torch.zeros(blocks), None, 0.0).fits((8, 5))
