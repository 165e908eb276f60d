"""Whole weights become packed ones of 8 or 4 bits while they are loaded, where settings say so."""

import itertools
import math
import re
from typing import Final

import torch

from generation.model_settings import Quantise
from generation.runtime.four_bits import NF4
from generation.runtime.quantised import Packed, Packing, keep_quantised

FLOAT8: Final = torch.float8_e4m3fn
BLOCK: Final = 64
"""Values to a scale of NF4, as bitsandbytes has it."""
INT8: Final = 127
AT_ONCE: Final = 2**20
"""Values that are packed at once: so many stay in a processor's cache from one operation to the
next, which is most of the speed."""
_IN_BLOCKS: Final = re.compile(r"\.\d+\.")
"""Names of layers that are there once for each block: what stands before and behind is small, and
pictures suffer most from it."""
CELLS: Final = 256
"""Equal parts of -1 to 1, so narrow that at most one border between values of NF4 lies in each."""
_BORDERS: Final = torch.tensor([(low + high) / 2 for low, high in itertools.pairwise(NF4)])
"""Half way between the values of NF4, which are in order."""
_FIRST: Final = torch.bucketize(torch.linspace(-1, 1, CELLS + 1), _BORDERS).to(torch.uint8)
"""The code that each cell begins with; the last is for 1 alone."""
_BORDER: Final = torch.full((CELLS + 1,), math.inf).index_put_(
    (((_BORDERS + 1) * (CELLS / 2)).long(),), _BORDERS
)
"""From where on each cell has the next code."""


def can_be_quantised(network: torch.nn.Module, name: str, weight: torch.Tensor) -> bool:
    """Whether a weight of that name is a matrix of a block."""
    path, _, parameter = name.rpartition(".")
    if parameter != "weight" or weight.ndim != 2 or isinstance(weight, Packed):
        return False
    layer = network.get_submodule(path)
    return type(layer) is torch.nn.Linear and bool(_IN_BLOCKS.search(name))


def packed(weight: torch.Tensor, to: Quantise) -> torch.Tensor:
    """A matrix (R, W) in that type; as it is where its rows are no whole blocks of NF4."""
    if to == "nf4" and weight.shape[1] % BLOCK:
        return weight
    rows = max(1, AT_ONCE // max(weight.shape[1], 1))
    pieces = [_PACKED[to](piece.float()) for piece in torch.split(weight, rows)]
    data, scales = (torch.cat(each) for each in zip(*pieces, strict=True))
    return Packed(_PACKINGS[to], data, weight.shape, scales)


def quantise(network: torch.nn.Module, to: Quantise) -> None:
    """Pack the weights of a network that is loaded, one layer after the other."""
    for path, layer in list(network.named_modules()):
        name = f"{path}.weight"
        if isinstance(layer, torch.nn.Linear) and can_be_quantised(network, name, layer.weight):
            weight = packed(layer.weight.detach(), to)
            if isinstance(weight, Packed) and keep_quantised(
                network, name, weight, layer.weight.dtype
            ):
                network.get_submodule(path).bias = layer.bias


def _int8(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = _scale(rows, 1, INT8)
    return (rows / scale).round().to(torch.int8).view(torch.uint8), scale


def _fp8(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = _scale(rows, 1, torch.finfo(FLOAT8).max)
    return (rows / scale).to(FLOAT8).view(torch.uint8), scale


def _nf4(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    blocks = rows.view(len(rows), -1, BLOCK)
    scale = _scale(blocks, 2, 1.0)
    # a code at each end of a byte's two, and then both in one
    pairs = _codes((blocks / scale).flatten()).view(torch.int16)
    return ((pairs << 4) | (pairs >> 8)).to(torch.uint8).view(len(rows), -1), scale.squeeze(2)


def _codes(values: torch.Tensor) -> torch.Tensor:
    """The number (N,), uint8, of the value of NF4 that is nearest to each from -1 to 1; half way
    the lower one's.
    """
    # what is no number has no cell
    cells = ((values + 1) * (CELLS / 2)).to(torch.int32).clamp_(0, CELLS)
    beyond = values > torch.index_select(_BORDER, 0, cells)
    return torch.index_select(_FIRST, 0, cells) + beyond.view(torch.uint8)


def _scale(values: torch.Tensor, side: int, largest: float) -> torch.Tensor:
    """What makes `largest` of the largest along that side; 1 where all are 0."""
    found = values.abs().amax(side, keepdim=True) / largest
    return torch.where(found == 0, 1.0, found)


_PACKED: Final = {"fp8": _fp8, "int8": _int8, "nf4": _nf4}
_PACKINGS: Final = {
    "fp8": Packing("float8_e4m3fn", float8=FLOAT8),
    "int8": Packing("int8"),
    "nf4": Packing("NF4", values=2),
}
