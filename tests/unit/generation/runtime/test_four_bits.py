"""Weights of 4 bits have the values that bitsandbytes itself gives them, and whole ones become
packed with as little loss as its format allows.
"""

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from generation.model_settings import Quantise
from generation.runtime.four_bits import NF4
from generation.runtime.quantised import Packed, Quantised, unpack
from generation.runtime.quantising import BLOCK, CELLS, packed, quantise
from generation.runtime.weights import read_tensors

FILE = Path(__file__).parents[3] / "data" / "bitsandbytes.safetensors"
"""What its version 0.50.2 made of some matrices, and how it read them again."""


@pytest.mark.parametrize("name", ["nested", "plain", "across", "wide", "fp4", "long"])
def test_a_file_of_bitsandbytes_has_its_values(name: str) -> None:
    """To the bit: with scales in 8 bits and whole, in blocks that go on in the next row, too."""
    wanted = load_file(FILE)[f"{name}.wanted"]
    tensors = read_tensors(FILE)
    found = tensors[f"{name}.weight"]
    assert isinstance(found, Packed) == (name != "across")
    assert torch.equal(found.float().to(wanted.dtype), wanted)
    assert not any(".weight." in key for key in tensors)


@pytest.mark.parametrize(
    ("to", "bound", "least"), [("fp8", 0.028, 0.02), ("int8", 0.008, 0.006), ("nf4", 0.1, 0.08)]
)
def test_whole_weights_become_packed_ones(to: Quantise, bound: float, least: float) -> None:
    """The loss of a normal distribution's values, of their spread; rows of zeros stay so."""
    weight = torch.randn((64, 256), generator=torch.Generator().manual_seed(1)) * 0.02
    weight[3] = 0
    found = packed(weight, to)
    assert isinstance(found, Packed)
    values = found.dense(torch.float32)
    assert least < float((values - weight).std() / weight.std()) < bound
    assert not values[3].any()
    bits = 8 * sum(t.nbytes for t in (found.data_by_row, found.scale) if t is not None)
    assert bits / weight.numel() == {"fp8": 8.125, "int8": 8.125, "nf4": 4.5}[to]


def test_each_value_becomes_the_nearest_of_the_table() -> None:
    weight = torch.linspace(-1, 1, 256).reshape(4, 64)
    weight[:, 0] = 1
    values = packed(weight, "nf4").float()
    nearest = (weight[..., None] - torch.tensor(NF4)).abs().amin(-1)
    assert torch.equal((values - weight).abs(), nearest)


def test_values_next_to_a_border_get_the_code_that_a_search_finds() -> None:
    """To the bit: there, where the cells of the table begin, and for a normal distribution's."""
    borders = torch.tensor([(low + high) / 2 for low, high in itertools.pairwise(NF4)])
    edges = torch.cat((borders, torch.linspace(-1, 1, 2 * CELLS + 1), torch.tensor(NF4)))
    near = [edges]
    for towards in (2.0, -2.0):
        near.append(torch.nextafter(edges, torch.tensor(towards)))
        near.append(torch.nextafter(near[-1], torch.tensor(towards)))
    spread = torch.randn(2**21, generator=torch.Generator().manual_seed(2)) * 0.3
    values = torch.cat((*near, spread)).clamp(-1, 1)
    rows = functional.pad(values, (0, -len(values) % (BLOCK - 1))).view(-1, BLOCK - 1)
    weight = functional.pad(rows, (1, 0), value=1)
    found = packed(weight, "nf4")
    assert isinstance(found, Packed)
    codes = torch.bucketize(weight, borders)
    assert torch.equal(found.data_by_row.int(), codes[:, ::2] * 16 + codes[:, 1::2])


def test_a_weight_that_is_no_number_stays_none() -> None:
    weight = torch.zeros(2, 2 * BLOCK)
    weight[0, 3], weight[1, 5] = float("nan"), float("inf")
    values = packed(weight, "nf4").float()
    assert not values[:, :BLOCK].isfinite().any(1).all()
    assert not values[:, BLOCK:].any()


def test_rows_that_are_no_whole_blocks_stay() -> None:
    weight = torch.randn(4, 40)
    assert packed(weight, "nf4") is weight
    assert isinstance(packed(weight, "int8"), Packed)


def test_only_matrices_of_blocks_become_packed() -> None:
    linear, conv = torch.nn.Linear(64, 64), torch.nn.Conv2d(64, 64, 1)
    holder = torch.nn.Module()
    holder.blocks = torch.nn.ModuleList([torch.nn.ModuleDict({"attn": linear, "conv": conv})])
    holder.proj_out = torch.nn.Linear(64, 64)
    x = torch.randn(2, 64)
    before = linear(x).detach()
    quantise(holder, "int8")
    kept = [name for name, layer in holder.named_modules() if isinstance(layer, Quantised)]
    assert kept == ["blocks.0.attn"]
    after = holder.get_submodule("blocks.0.attn")(x).detach()
    assert 0 < float((after - before).abs().max()) < 0.05
    unpack(holder)
    assert torch.equal(holder.get_submodule("blocks.0.attn")(x), after)
