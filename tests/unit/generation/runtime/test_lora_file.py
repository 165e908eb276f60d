"""Everything in a LoRA file is understood or named."""

import collections
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generation.families import adapters
from generation.runtime import lora_file
from generation.runtime.faults import JobError
from generation.runtime.lora_deltas import Decomposed, Full, LowRank, WeightChange
from generation.runtime.lora_file import LoraFile
from generation.runtime.lora_file import NamedTensors as Tensors

LAYER = "lora_unet_mid_block_attentions_0_proj_in"
DOWN, UP = torch.randn(4, 8), torch.randn(6, 4)
KOHYA: Tensors = {f"{LAYER}.lora_down.weight": DOWN, f"{LAYER}.lora_up.weight": UP}
PEFT: Tensors = {
    f"{network}.{layer}.lora_{side}.weight": matrix
    for network in ("unet", "text_encoder")
    for layer in ("block.to_q", "block.to_k")
    for side, matrix in (("A", DOWN), ("B", UP))
}
WEIGHT = torch.randn(6, 8)


def read(tmp_path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> LoraFile:
    file = tmp_path / "some.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, file, metadata)
    return lora_file.read(file, "some")


def change_of(file: LoraFile, layer: str = LAYER) -> WeightChange:
    change = next(delta for delta in file.deltas if delta.layer == layer).weight
    assert change is not None
    return change


def scale_of(file: LoraFile, layer: str = LAYER) -> float:
    change = change_of(file, layer)
    assert isinstance(change, LowRank)
    return change.scale


def test_a_layer_lists_its_tensors(tmp_path: Path) -> None:
    extra = {f"{LAYER}.alpha": torch.tensor(2.0), f"{LAYER}.dora_scale": torch.rand(6, 1)}
    file = read(tmp_path, KOHYA | extra)
    assert [sorted(delta.tensors) for delta in file.deltas] == [sorted(KOHYA | extra)]
    assert isinstance(change_of(file), Decomposed)
    assert file.unknown == ()
    assert file.embeddings == {}


@pytest.mark.parametrize(
    ("extra", "scale"),
    [
        ({}, 1.0),
        ({"alpha": torch.tensor(4.0)}, 1.0),
        ({"alpha": torch.tensor(1, dtype=torch.int64)}, 0.25),
        ({"alpha": torch.tensor([2.0], dtype=torch.bfloat16)}, 0.5),
        ({"alpha": torch.tensor(0.0)}, 0.0),
        ({"scale": torch.tensor(0.3)}, 0.3),
        ({"alpha": torch.tensor(2.0), "scalar": torch.tensor(3.0)}, 1.5),
    ],
)
def test_a_layer_is_scaled_by_alpha_over_its_rank(
    tmp_path: Path, extra: dict[str, torch.Tensor], scale: float
) -> None:
    file = read(tmp_path, KOHYA | {f"{LAYER}.{name}": tensor for name, tensor in extra.items()})
    assert scale_of(file) == pytest.approx(scale)
    assert file.unknown == ()


def test_an_alpha_of_two_whole_factors_means_nothing(tmp_path: Path) -> None:
    """Such files say 9999999, or whatever the trainer was given."""
    tensors = {f"{LAYER}.lokr_w1": torch.randn(2, 4), f"{LAYER}.lokr_w2": torch.randn(3, 2)}
    plain = change_of(read(tmp_path, tensors)).of(WEIGHT, 1.0)
    odd = read(tmp_path, tensors | {f"{LAYER}.alpha": torch.tensor(9999999.0)})
    assert torch.equal(change_of(odd).of(WEIGHT, 1.0), plain)
    torch.testing.assert_close(
        plain, torch.kron(tensors[f"{LAYER}.lokr_w1"], tensors[f"{LAYER}.lokr_w2"])
    )
    assert odd.unknown == ()


@pytest.mark.parametrize("older", [False, True])
def test_both_ways_to_name_what_glora_has(tmp_path: Path, older: bool) -> None:
    a1, a2, b1, b2 = torch.randn(8, 3), torch.randn(3, 8), torch.randn(6, 3), torch.randn(3, 8)
    named = (a2, a1, b2, b1) if older else (a1, a2, b1, b2)
    tensors = {
        f"{LAYER}.{name}.weight": matrix
        for name, matrix in zip(("a1", "a2", "b1", "b2"), named, strict=True)
    }
    change = change_of(read(tmp_path, tensors))
    assert change.fits((6, 8))
    torch.testing.assert_close(change.of(WEIGHT, 1.0), WEIGHT @ a1 @ a2 + b1 @ b2)


def test_a_bias_has_the_scale_of_its_layer(tmp_path: Path) -> None:
    alpha, bias = {f"{LAYER}.alpha": torch.tensor(1.0)}, torch.randn(6)
    for name, scale in (("lora_up.bias", 0.25), ("lora_B.bias", 0.25), ("diff_b", 1.0)):
        (delta,) = read(tmp_path, KOHYA | alpha | {f"{LAYER}.{name}": bias}).deltas
        assert isinstance(delta.bias, Full)
        torch.testing.assert_close(delta.bias.of(torch.zeros(6), 1.0), bias * scale)


def test_embeddings_that_were_trained_with_it_come_apart(tmp_path: Path) -> None:
    vectors = torch.randn(2, 8)
    file = read(
        tmp_path,
        KOHYA
        | {
            "bundle_emb.my token.string_to_param.*": vectors,
            "bundle_emb.v1.5 style.clip_l": vectors + 1,
            "bundle_emb.v1.5 style.clip_g": vectors + 2,
            "bundle_emb.v1.5 style.clip_g_out": vectors + 3,
        },
    )
    assert file.unknown == ()
    assert {token: set(parts) for token, parts in file.embeddings.items()} == {
        "my token": {"*"},
        "v1.5 style": {"clip_l", "clip_g", "clip_g_out"},
    }
    assert torch.equal(file.embeddings["v1.5 style"]["clip_g"], vectors + 2)


def test_what_is_not_understood_is_named(tmp_path: Path) -> None:
    nonsense = {
        f"{LAYER}.lora_magnitude": torch.zeros(2),
        "other.lora_down.weight": DOWN,
        "other.alpha": torch.tensor(1.0),
        "third.weight": torch.zeros(3),
        "fourth.oft_R.weight": torch.zeros(3, 4),
        "bundle_emb.": torch.zeros(3),
        "word": torch.zeros(1),
    }
    harmless = {"v_pred": torch.zeros(0), "text_model.embeddings.position_ids": torch.zeros(1)}
    file = read(tmp_path, KOHYA | nonsense | harmless)
    assert file.unknown == tuple(sorted(nonsense))
    assert len(file.deltas) == 1


def test_a_file_without_any_known_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError) as error:
        read(tmp_path, {"layer.oft_R.weight": torch.zeros(3, 4), "x": torch.zeros(1)})
    assert (error.value.code, error.value.params) == ("lora_kind", {"name": "some"})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_no_numbers_are_found_anywhere(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    for spoilt in (*KOHYA, f"{LAYER}.alpha", "bundle_emb.x.clip_l"):
        tensors = {name: t.to(dtype, copy=True) for name, t in KOHYA.items()}
        tensors |= {f"{LAYER}.alpha": torch.ones(1, dtype=dtype)}
        tensors |= {"bundle_emb.x.clip_l": torch.ones((1, 8), dtype=dtype)}
        tensors[spoilt].view(-1)[-1] = value
        with pytest.raises(JobError) as error:
            read(tmp_path, tensors)
        assert (error.value.code, error.value.params) == ("lora_nan", {"name": "some"})


def test_large_numbers_and_eight_bits_are_numbers(tmp_path: Path) -> None:
    huge = {name: torch.full_like(tensor, 3e38) for name, tensor in KOHYA.items()}
    assert len(read(tmp_path, huge).deltas) == 1
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in KOHYA.items()}
    change = change_of(read(tmp_path, small))
    expected = small[f"{LAYER}.lora_up.weight"].float() @ small[f"{LAYER}.lora_down.weight"].float()
    torch.testing.assert_close(change.of(WEIGHT, 1.0), expected)


def notes(**config: Any) -> dict[str, str]:
    return {"lora_adapter_metadata": json.dumps(config)}


def test_pefts_configuration_in_the_metadata(tmp_path: Path) -> None:
    said = {
        "unet.lora_alpha": 2,
        "unet.r": 4,
        "unet.alpha_pattern": {"to_k": 8},
        "text_encoder.lora_alpha": 6,
        "text_encoder.use_rslora": True,
        "text_encoder.target_modules": ["to_q"],
    }
    file = read(tmp_path, PEFT, notes(**said))
    assert {delta.layer: scale_of(file, delta.layer) for delta in file.deltas} == {
        "unet.block.to_q": 0.5,
        "unet.block.to_k": 2.0,
        "text_encoder.block.to_q": 3.0,
        "text_encoder.block.to_k": 3.0,
    }


def test_a_layers_own_alpha_counts_more(tmp_path: Path) -> None:
    own = {"unet.block.to_q.alpha": torch.tensor(4.0)}
    file = read(tmp_path, PEFT | own, notes(**{"unet.lora_alpha": 400}))
    assert scale_of(file, "unet.block.to_q") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"unet.lora_alpha": "8"}', '{"unet.alpha_pattern": 3}', "[" * 100_000),
        '{"unet.lora_alpha": NaN}',
        '{"unet.lora_alpha": [1], "unet.alpha_pattern": [2]}',
    ],
)
def test_other_notes_change_nothing(tmp_path: Path, text: str) -> None:
    file = read(tmp_path, PEFT, {"lora_adapter_metadata": text})
    assert scale_of(file, "unet.block.to_q") == 1.0


def test_pefts_own_file_has_its_configuration_beside_it(tmp_path: Path) -> None:
    tensors = {
        f"base_model.model.block.to_q.lora_{side}.weight": m for side, m in (("A", DOWN), ("B", UP))
    }
    beside = tmp_path / "adapter_config.json"
    beside.write_text(json.dumps({"lora_alpha": 16, "r": 4, "base_model_name_or_path": None}))
    for name, scale in (("adapter_model.safetensors", 4.0), ("other.safetensors", 1.0)):
        file = tmp_path / name
        save_file(tensors, file)
        assert scale_of(lora_file.read(file, "x"), "base_model.model.block.to_q") == scale


def test_a_file_that_is_none_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(KOHYA, whole)
    content = whole.read_bytes()
    for name, bytes_, code in (
        ("cut", content[:-10], "model_broken"),
        ("page", b"<!DOCTYPE html><html>" + b" " * 100, "model_page"),
        (
            "pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:",
            "model_lfs_pointer",
        ),
        ("empty", b"", "model_broken"),
    ):
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(bytes_)
        with pytest.raises(JobError) as error:
            lora_file.read(file, name)
        assert error.value.code == code
        assert error.value.params["file"] == file.name
        assert str(tmp_path) not in "".join(error.value.params.values())
    for gone in (tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(JobError) as error:
            lora_file.read(gone, "gone")
        assert error.value.code == "model_broken"
        assert str(tmp_path) not in error.value.params["why"]


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (4, 0), (2, 2, 2, 2, 2)])
def test_tensors_of_any_shape_are_read_and_asked_whether_they_fit(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    for names in (
        ("lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale"),
        ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
        ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha"),
        ("a1.weight", "a2.weight", "b1.weight", "b2.weight"),
        ("oft_blocks", "rescale", "alpha"),
        ("weight", "on_input"),
        ("diff", "diff_b"),
    ):
        file = read(tmp_path, {f"{LAYER}.{name}": torch.zeros(shape) for name in names})
        for delta in file.deltas:
            for target in ((6, 8), (6, 8, 3, 3), (6,)):
                assert delta.weight is not None
                if delta.weight.fits(target):
                    assert delta.weight.of(torch.zeros(target), 1.0).shape == target


def test_what_fits_can_be_computed(tmp_path: Path) -> None:
    """Of tensors of random shapes those that fit do not fail, and have the layer's shape."""
    chance = random.Random(0)
    fitting: collections.Counter[str] = collections.Counter()
    for _ in range(6000):
        names = chance.choice(METHODS)
        sides = {
            name: (4, 4) if chance.random() < 0.8 else chance.choice(SHAPES)
            for name in names
            if chance.random() < 0.9
        }
        layer = lora_file._Layer(
            {name: name for name in sides},
            {name: torch.rand(shape) for name, shape in sides.items()},
        )
        delta = layer.delta("layer", lora_file._PeftNotes({}))
        if delta.weight is None:
            continue
        target = chance.choice(((4, 4), (4, 4, 1, 1), (2, 4), (4, 4, 2, 2), (16, 16), (1, 1), (4,)))
        if delta.weight.fits(target):
            fitting[names[0]] += 1
            found = delta.weight.of(torch.rand(target), 0.5)
            assert (found.shape, found.dtype) == (target, torch.float32)
    assert len(fitting) == len(METHODS)


SHAPES = (
    (),
    (4,),
    (1, 4),
    (4, 2),
    (2, 4),
    (2, 2),
    (2, 4, 4),
    (2, 2, 2),
    (4, 4, 2, 2),
    (3, 2, 2, 2),
)
METHODS = (
    ("down", "up", "core", "alpha", "magnitude"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha"),
    ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    ("a1", "a2", "b1", "b2", "alpha"),
    ("oft_blocks", "rescale", "alpha"),
    ("factors", "on_input"),
    ("diff", "diff_b"),
)


def test_what_the_catalogue_lists_is_understood() -> None:
    """Each sign by which it knows a LoRA is the end of a tensor's name that is read here."""
    refused = {mark for _, marks in adapters.NOT_FOR_PICTURES for mark in marks}
    known = [mark for algorithm in adapters.ALGORITHMS for mark in algorithm.marks]
    assert len(known) > 15
    for mark in set(known) - refused:
        name = lora_file._ADAPTER.sub(r".\1.\2", f"layer{mark.removesuffix('$')}")
        assert name.endswith(tuple(lora_file.ENDINGS)), mark
