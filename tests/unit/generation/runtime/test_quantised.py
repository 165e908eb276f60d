"""Packed weights have the values that the gguf library and torch give them, whatever is done with
them, and layers compute with these.
"""

import copy
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from generation.gguf_header import TYPES
from generation.messages import RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.runtime import quantised
from generation.runtime.faults import JobError
from generation.runtime.gguf_blocks import UNPACK
from generation.runtime.merging import Merger
from generation.runtime.quantised import (
    Packed,
    Packing,
    Quantised,
    QuantisedEmbedding,
    keep_quantised,
    unpack,
    unpacked_bytes,
)
from generation.runtime.unpacking import Unpacking
from generation.runtime.weights import filled, read_tensors
from tests.fixtures import gguf_files, loras
from tests.fixtures import quantised as made

MODEL = ModelFile(kind=ModelKind.CHECKPOINT, name="a", path=Path("a.gguf"), family="sdxl")
FLOAT8 = torch.float8_e4m3fn


@pytest.mark.parametrize("kind", UNPACK)
def test_blocks_have_the_values_that_the_library_gives_them(kind: str) -> None:
    """To the last bit, whatever the bytes are."""
    size = next(packing.size for packing in TYPES.values() if packing.name == kind)
    raw = np.random.default_rng(1).integers(0, 256, (64, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    found = UNPACK[kind](torch.from_numpy(raw)).numpy()
    assert np.isfinite(wanted).mean() > 0.5
    assert np.array_equal(found, wanted, equal_nan=True)


def packed(rows: int = 6, width: int = 64, *, scale: bool = True) -> Packed:
    torch.manual_seed(rows)
    data = torch.randn(rows, width).to(FLOAT8).view(torch.uint8)
    scales = torch.rand(rows, width // 16) if scale else None
    return Packed(Packing("float8_e4m3fn", float8=FLOAT8), data, (rows, width), scales)


def dense(weight: torch.Tensor) -> torch.Tensor:
    assert isinstance(weight, Packed)
    return weight.dense(torch.float32)


@pytest.mark.parametrize("scale", [True, False])
def test_parts_and_joins_by_rows_stay_packed(scale: bool) -> None:
    whole = packed(scale=scale)
    values = whole.dense(torch.float32)
    for found, wanted in zip(whole.chunk(3), values.chunk(3), strict=True):
        assert torch.equal(dense(found), wanted)
    for found, wanted in zip(*(torch.split(t, [1, 2, 3]) for t in (whole, values)), strict=True):
        assert torch.equal(dense(found), wanted)
    assert torch.equal(dense(whole[1:4]), values[1:4])
    assert torch.equal(dense(whole[4:]), values[4:])
    other = packed(4, scale=scale)
    joined = torch.cat([whole, other, whole[:2]])
    wanted = torch.cat([values, other.dense(torch.float32), values[:2]])
    assert torch.equal(dense(joined), wanted)
    for shape in ((6, 64, 1, 1), (6, -1), (6, 8, -1)):
        assert torch.equal(dense(whole.reshape(shape)), values.reshape(shape))
    assert torch.equal(dense(whole.clone().detach()), values)


def test_whatever_else_is_done_is_done_with_the_values() -> None:
    whole = packed()
    values = whole.dense(torch.float32)
    for change in (
        lambda t: t.to(torch.float16),
        lambda t: t.T.contiguous(),
        lambda t: t * 2 + 1,
        lambda t: t[:, 3:5],
        lambda t: t[::2],
        lambda t: torch.cat([t, torch.ones(1, 64)]),
        lambda t: torch.cat([t, t], dim=1),
        lambda t: t.chunk(2, dim=1)[1],
        lambda t: t.reshape(-1),
        lambda t: functional.linear(torch.ones(1, 64), t),
    ):
        found = change(whole)
        assert not isinstance(found, Packed)
        assert torch.equal(found, change(values))


def test_large_weights_are_unpacked_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for weight in (packed(), packed(scale=False)):
        wanted = weight.dense(torch.bfloat16)
        monkeypatch.setattr(quantised, "AT_ONCE", 100)
        assert torch.equal(weight.dense(torch.bfloat16), wanted)
        monkeypatch.undo()


@pytest.mark.parametrize(
    "scale_of",
    [made.of_all, made.of_rows, made.of_parts, made.of_squares],
)
@pytest.mark.parametrize("layout", [made.scaled_fp8, made.comfy_quant])
def test_scales_of_both_layouts(scale_of: Any, layout: Any, tmp_path: Path) -> None:
    name = "model.diffusion_model.a.weight"
    weight = torch.randn(32, 48) * torch.logspace(-3, 3, 32)[:, None]
    save_file({name: weight, "b": torch.ones(3)}, tmp_path / "a.safetensors")
    tensors = read_tensors(layout(tmp_path / "a.safetensors", tmp_path / "b.safetensors", scale_of))
    assert set(tensors) == {name, "b"}
    found = dense(tensors[name])
    error = (found - weight).abs().amax(1) / weight.abs().amax(1)
    # one scale for all leaves the small rows nothing
    assert float(error[-1]) < 0.07
    assert (float(error.max()) < 0.07) == (scale_of is not made.of_all)


def test_gguf_tensors_of_all_kinds(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256)
    kinds = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_1", "Q6_K", "Q4_K", "TQ2_0", "I32")
    tensors = {}
    for kind in kinds:
        whole = values.astype(np.int32) if kind == "I32" else made.quantised(values, kind)
        tensors[kind] = kind, values.shape, whole.tobytes()
    # rows that are joined to make whole blocks
    tensors["joined"] = "Q8_0", (4, 128), tensors["Q8_0"][2]
    keys = [gguf_files.key("comfy.gguf.orig_shape.joined", [32, 16])]
    found = read_tensors(gguf_files.write(tmp_path / "a.gguf", tensors, keys=keys))
    assert [name for name, t in found.items() if isinstance(t, Packed)] == list(kinds[3:8])
    assert found["joined"].shape == (32, 16)
    for name, tensor in found.items():
        plain = dense(tensor) if isinstance(tensor, Packed) else tensor.float()
        error = np.abs(plain.numpy().reshape(2, 256) - values).max()
        assert error < {"I32": 1.0, "TQ2_0": 0.6, "Q4_0": 0.08, "Q4_K": 0.05}.get(name, 0.04), name
    assert found["BF16"].dtype == torch.bfloat16


def network() -> torch.nn.Sequential:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 32, bias=False)
    ).eval()


def quantise(net: torch.nn.Module, dtype: torch.dtype = torch.float32) -> Any:
    """With every matrix in 8 bits."""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            data = layer.weight.detach().to(FLOAT8).view(torch.uint8)
            # with scales, values have more digits than bfloat16
            scale = torch.linspace(0.9, 1.1, len(data))[:, None]
            packing = Packing("float8_e4m3fn", float8=FLOAT8)
            weight = Packed(packing, data, layer.weight.shape, scale)
            assert keep_quantised(net, f"{name}.weight", weight, dtype)
            changed = net.get_submodule(name)
            if layer.bias is not None:
                changed.bias = layer.bias
    return net.to(dtype).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_compute_as_unpacked_ones(dtype: torch.dtype) -> None:
    net = quantise(network(), dtype)
    x = torch.randn(5, 64).to(dtype)
    with torch.no_grad():
        found = net(x)
        twin = copy.deepcopy(net)
        assert unpacked_bytes(twin) == (64 * 64 + 64 * 32) * dtype.itemsize
        unpack(twin)
        assert torch.equal(twin(x), found)
    assert unpacked_bytes(twin) == 0
    assert type(twin[0]) is torch.nn.Linear
    assert found.dtype == dtype
    held = sum(buffer.nbytes for buffer in net.buffers())
    assert held == 64 * 64 + 64 * 32 + (64 + 32) * torch.float32.itemsize
    layer = net[0]
    assert isinstance(layer, Quantised)
    assert (layer.weight.shape, layer.weight.dtype, layer.weight.is_meta) == ((64, 64), dtype, True)
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        _ = layer.wieght


def test_a_change_of_precision_leaves_the_weights() -> None:
    net = quantise(network())
    x = torch.randn(2, 64)
    with torch.no_grad():
        found = net(x)
        changed = net.to(torch.bfloat16).to(torch.float32)
        changed[0].bias = network()[0].bias
        assert torch.equal(changed(x), found)


def test_words_are_looked_up_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    words = torch.nn.Sequential(torch.nn.Embedding(64, 64))
    weight = packed(64)
    assert not keep_quantised(words, "0.weight", weight, torch.float32)
    monkeypatch.setattr(quantised, "EMBEDDING_MIN", 0)
    assert keep_quantised(words, "0.weight", weight, torch.float32)
    assert isinstance(words[0], QuantisedEmbedding)
    ids = torch.tensor([[3, 1], [3, 63]])
    assert torch.equal(words(ids), weight.dense(torch.float32)[ids])
    unpack(words)
    assert torch.equal(words(ids), weight.dense(torch.float32)[ids])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loras_come_and_go_as_in_unpacked_networks(dtype: torch.dtype, tmp_path: Path) -> None:
    """A, B, A: to the bit what it is in a network whose weights are unpacked."""
    bare = loras.sd1()
    a, _ = loras.lora_for(tmp_path, bare, "a", 1)
    b, _ = loras.lora_for(tmp_path, bare, "b", 2)
    kept = {"unet": quantise(bare["unet"], dtype)}
    plain = copy.deepcopy(kept)
    unpack(plain["unet"])
    mergers = Merger(), Merger()
    seen: dict[str, loras.Tensors] = {}
    for job in ("", "a", "b", "ab", "a", "", "b"):
        found = []
        for merger, networks in zip(mergers, (kept, plain), strict=True):
            merger.apply(networks, [{"a": a, "b": b}[letter] for letter in job])
            found.append(matrices(networks["unet"]))
        assert loras.equal(*found)
        assert loras.equal(seen.setdefault(job, found[0]), found[0])
    assert not loras.equal(seen["a"], seen[""])
    mergers[0].apply(kept, [a])
    mergers[0].free()
    assert loras.equal(matrices(kept["unet"]), seen[""])


def matrices(network: torch.nn.Module) -> loras.Tensors:
    """What its linear layers multiply with."""
    return {
        name: layer.values() if isinstance(layer, Quantised) else layer.weight.detach().clone()
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }


def test_modules_are_filled() -> None:
    weight = packed(64)
    linear = torch.nn.Sequential(torch.nn.Linear(64, 64))
    # as some converters write linear layers
    given = {"0.weight": weight.reshape(64, 64, 1, 1), "0.bias": torch.ones(64)}
    found = filled(linear, given, torch.float32, MODEL, "part")
    assert torch.equal(found[0].values(), weight.dense(torch.float32))
    assert torch.equal(found[0].bias, torch.ones(64))
    conv = filled(
        torch.nn.Sequential(torch.nn.Conv2d(64, 64, 1, bias=False)),
        {"0.weight": weight},
        torch.float32,
        MODEL,
        "part",
    )
    assert torch.equal(conv[0].weight.flatten(1), weight.dense(torch.float32))
    with pytest.raises(JobError, match="model_broken"):
        filled(torch.nn.Sequential(torch.nn.Linear(64, 64)), {"0.weight": weight}, *REST)
    with pytest.raises(JobError, match="model_broken"):
        filled(torch.nn.Sequential(torch.nn.Linear(32, 64)), given, *REST)


def test_only_what_a_file_maps_is_copied(tmp_path: Path) -> None:
    """A GGUF file would else be in memory twice while it is loaded."""
    name = "model.diffusion_model.a.weight"
    save_file({name: torch.randn(64, 64)}, tmp_path / "a.safetensors")
    for file, copied in (
        (made.plain_fp8(tmp_path / "a.safetensors", tmp_path / "b.safetensors"), True),
        (made.gguf_of(tmp_path / "a.safetensors", tmp_path / "c.gguf", "Q8_0"), False),
    ):
        weight = read_tensors(file)[name]
        assert isinstance(weight, Packed)
        net = torch.nn.Sequential(torch.nn.Linear(32, 64, bias=False))
        for piece in (weight, *weight.chunk(2), weight.reshape(64, 64, 1)):
            assert isinstance(piece, Packed)
            net[0] = torch.nn.Linear(64, len(piece), bias=False)
            assert keep_quantised(net, "0.weight", piece, torch.float32)
            layer = net[0]
            assert isinstance(layer, Quantised)
            same = layer.packed.data_ptr() == piece.data_by_row.data_ptr()
            assert same == (not copied)


REST: Any = (torch.float32, MODEL, "part")


@pytest.mark.parametrize(
    ("wanted", "room", "left"),
    [("keep", 10**9, 24576), ("unpack", 0, 0), ("auto", 2 * 24576, 0), ("auto", 2 * 24575, 24576)],
)
def test_weights_are_unpacked_where_there_is_room(
    wanted: Any, room: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unpacking, "room", lambda _: room)
    net = quantise(network())
    Unpacking(RuntimeSettings(quantised=wanted), torch.device("cpu")).settle(net)
    assert unpacked_bytes(net) == left
