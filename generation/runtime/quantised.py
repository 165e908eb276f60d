"""Weights that stay quantised in memory: as tensors while they are read, and as layers that compute
with their values.

A layer unpacks its weight whenever it is called, so that it takes the memory that its file does.
Its values are those that it has where it is unpacked once and for all, and so are its pictures.
So are they with LoRAs: nothing tells a picture whether a weight stayed packed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

from generation.runtime.four_bits import FP4, NF4, unpack_table
from generation.runtime.gguf_blocks import UNPACK, Unpack
from generation.runtime.lora_deltas import WeightChange

AT_ONCE: Final = 2**24
"""Values that are unpacked at once: what is computed on the way takes several times as much."""


def _int8(data: torch.Tensor) -> torch.Tensor:
    return data.view(torch.int8).float()


BY_NAME: Final[Mapping[str, Unpack]] = {
    **UNPACK,
    "NF4": unpack_table(NF4),
    "FP4": unpack_table(FP4),
    "int8": _int8,
}
"""How blocks of bytes (N, bytes of one) become values (N, values of one), by Packing's names."""

EMBEDDING_MIN: Final = 2**26
"""Values of a table of words; smaller ones are unpacked, such as CLIP's, for whose words learned
vectors stand in."""

_aten = torch.ops.aten
_AS_THEY_ARE: Final = frozenset((_aten.detach.default, _aten.alias.default, _aten.clone.default))
_RESHAPED: Final = frozenset((_aten.view.default, _aten._unsafe_view.default))


@dataclass(frozen=True)
class Packing:
    """How a row of values lies in bytes."""

    name: str
    """Of GGUF's type, of torch's or of bitsandbytes': Q4_K, float8_e4m3fn, NF4; or int8."""
    values: int = 1
    """To a block; a row has whole blocks."""
    size: int = 1
    """Bytes of a block."""
    float8: torch.dtype | None = None
    """The type of the values, where each has its own byte."""

    def unpack(self, data: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """Rows of bytes (R, B) as values (R, W), float32; `scale` (R or 1, any) is what they are
        multiplied by, by row and by equal parts of it.
        """
        if self.float8 is None:
            values = BY_NAME[self.name](data.reshape(-1, self.size)).reshape(len(data), -1)
        else:
            values = data.view(self.float8).float()
        if scale is None:
            return values
        if scale.shape[1] > 1:
            width = values.shape[1]
            scale = scale.repeat_interleave(math.ceil(width / scale.shape[1]), 1)[:, :width]
        return values * scale


def unpacked(
    packing: Packing, data: torch.Tensor, scale: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """The values of rows (R, W), some rows after the others."""
    rows = max(1, AT_ONCE * packing.size // packing.values // max(data.shape[1], 1))
    if len(data) <= rows:
        return packing.unpack(data, scale).to(dtype)
    by_row = scale is not None and len(scale) > 1
    pieces = []
    for begin in range(0, len(data), rows):
        own = scale[begin : begin + rows] if scale is not None and by_row else scale
        pieces.append(packing.unpack(data[begin : begin + rows], own).to(dtype))
    return torch.cat(pieces)


class Packed(torch.Tensor):
    """A weight whose values are packed, while converters give it its place.

    Parts of it by rows, several joined by rows and other shapes of rows stay packed; whatever else
    is done with it is done with its values in float32.
    """

    packing: Packing
    data_by_row: torch.Tensor
    """(first side, bytes of a row), uint8."""
    scale: torch.Tensor | None
    """(first side or 1, parts of a row), float32."""
    mapped: bool
    """Whether its data are a file's, so that who keeps them needs a copy."""

    @staticmethod
    def __new__(
        cls,
        packing: Packing,
        data: torch.Tensor,
        shape: Sequence[int],
        scale: torch.Tensor | None = None,
        *,
        mapped: bool = False,
    ) -> "Packed":
        made: Packed = torch.Tensor._make_wrapper_subclass(
            cls, tuple(shape), dtype=torch.float32, device=data.device
        )
        made.packing, made.data_by_row, made.scale, made.mapped = packing, data, scale, mapped
        return made

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """As a tensor like others."""
        return unpacked(self.packing, self.data_by_row, self.scale, dtype).reshape(self.shape)

    def rows(self, begin: int, end: int) -> "Packed":
        """Some of its first side."""
        scale = self.scale
        if scale is not None and len(scale) > 1:
            scale = scale[begin:end]
        shape = (end - begin, *self.shape[1:])
        return Packed(self.packing, self.data_by_row[begin:end], shape, scale, mapped=self.mapped)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = _kept_packed(func, args, kwargs or {})
        if found is not None:
            return found
        args, kwargs = pytree.tree_map_only(
            Packed, lambda packed: packed.dense(torch.float32), (args, kwargs or {})
        )
        return func(*args, **kwargs)


def _kept_packed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation makes of packed weights without unpacking them; None where it can't."""
    first = args[0]
    if func in _AS_THEY_ARE:
        return first.rows(0, len(first.data_by_row))
    if func is _aten.cat.default and _by_rows(args, kwargs, 1):
        return _joined(list(first))
    if not isinstance(first, Packed):
        return None
    count = len(first.data_by_row)
    if func in (_aten.split.Tensor, _aten.split_with_sizes.default) and _by_rows(args, kwargs, 2):
        sizes = args[1]
        if isinstance(sizes, int):
            sizes = [min(sizes, count - begin) for begin in range(0, count, sizes)]
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        return [first.rows(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    if func is _aten.slice.Tensor and _by_rows(args, kwargs, 1) and len(args) < 5:
        begin, end, _ = slice(*(args[2:4] or (None,))).indices(count)
        return first.rows(begin, max(begin, end))
    if func in _RESHAPED and list(args[1][:1]) == [count]:
        known = math.prod(side for side in args[1] if side >= 0)
        shape = [side if side >= 0 else first.numel() // known for side in args[1]]
        return Packed(first.packing, first.data_by_row, shape, first.scale, mapped=first.mapped)
    return None


def _by_rows(args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> bool:
    """Whether an operation goes along the first side; where it says nothing, it does."""
    return bool((args[place] if len(args) > place else kwargs.get("dim", 0)) == 0)


def _joined(parts: list[Any]) -> Packed | None:
    if not all(isinstance(part, Packed) for part in parts):
        return None
    if len({(part.packing, part.shape[1:], part.scale is None) for part in parts}) > 1:
        return None
    scales = [part.scale for part in parts]
    scale = None
    if scales[0] is not None:
        if len({one.shape[1] for one in scales}) > 1:
            return None
        scale = torch.cat(
            [one.expand(len(part.data_by_row), -1) for one, part in zip(scales, parts, strict=True)]
        )
    data = torch.cat([part.data_by_row for part in parts])
    return Packed(parts[0].packing, data, (len(data), *parts[0].shape[1:]), scale)


class Quantised(torch.nn.Module):
    """What layers have in common whose weight stays packed.

    `weight` has no values, only shape and precision, as where weights are offloaded. The packed
    data are buffers of whole numbers, so that no change of precision befalls them.
    """

    packed: torch.Tensor
    scale_bits: torch.Tensor | None

    def hold(self, weight: Packed, dtype: torch.dtype) -> None:
        """Take the weight in the place of the one that the layer was made with."""
        del self.weight
        data, scale = weight.data_by_row, weight.scale
        if weight.mapped:
            data, scale = data.clone(), None if scale is None else scale.clone()
        self.register_buffer("packed", data, persistent=False)
        bits = None if scale is None else scale.contiguous().view(torch.int32)
        self.register_buffer("scale_bits", bits, persistent=False)
        self.packing = weight.packing
        self.shape = weight.shape
        self.computed_in = dtype
        self.changes: tuple[tuple[WeightChange, float], ...] = ()
        """What LoRAs add to it, and how strongly."""

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "packing" in vars(self):
            return torch.empty(self.shape, dtype=self.computed_in, device="meta")
        return super().__getattr__(name)

    @property
    def scale(self) -> torch.Tensor | None:
        """What the values are multiplied by, float32."""
        return None if self.scale_bits is None else self.scale_bits.view(torch.float32)

    def values(self) -> torch.Tensor:
        """The weight, with what LoRAs add to it: in float32, and then rounded, as `Merger` does."""
        found = unpacked(self.packing, self.packed, self.scale, self.computed_in).view(self.shape)
        if not self.changes:
            return found
        own = found.to(torch.float32)
        total = own.clone() if any(change.reads_weight for change, _ in self.changes) else own
        for change, strength in self.changes:
            change.add_to(total, own, strength)
        return total.to(self.computed_in)

    def plain(self) -> torch.nn.Module:
        """The layer with its values, unpacked."""
        raise NotImplementedError

    @property
    def unpacked_bytes(self) -> int:
        """Memory of its values."""
        return self.shape.numel() * self.computed_in.itemsize


class QuantisedLinear(Quantised, torch.nn.Linear):
    """A linear layer."""

    def __init__(self, layer: torch.nn.Linear, weight: Packed, dtype: torch.dtype) -> None:
        super().__init__(
            layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta"
        )
        self.hold(weight, dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Linear."""
        return functional.linear(input, self.values().to(input.dtype), self.bias)

    def plain(self) -> torch.nn.Module:
        """The layer with its values, unpacked."""
        sides = self.in_features, self.out_features
        layer = torch.nn.Linear(*sides, bias=self.bias is not None, device="meta")
        layer.weight, layer.bias = _parameter(self.values()), self.bias
        return layer.eval()


class QuantisedEmbedding(Quantised, torch.nn.Embedding):
    """A table of words; only those are unpacked that are looked up."""

    def __init__(self, layer: torch.nn.Embedding, weight: Packed, dtype: torch.dtype) -> None:
        super().__init__(layer.num_embeddings, layer.embedding_dim, device="meta")
        self.hold(weight, dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Embedding."""
        rows = input.flatten()
        scale = self.scale
        if scale is not None and len(scale) > 1:
            scale = scale[rows]
        found = unpacked(self.packing, self.packed[rows], scale, self.computed_in)
        return found.reshape(*input.shape, -1)

    def plain(self) -> torch.nn.Module:
        """The layer with its values, unpacked."""
        layer = torch.nn.Embedding(self.num_embeddings, self.embedding_dim, device="meta")
        layer.weight = _parameter(self.values())
        return layer.eval()


_LAYERS: Final[dict[type, Any]] = {
    torch.nn.Linear: QuantisedLinear,
    torch.nn.Embedding: QuantisedEmbedding,
}


def keep_quantised(network: torch.nn.Module, name: str, weight: Packed, dtype: torch.dtype) -> bool:
    """Put a layer that holds this packed weight in its place; False where there is none for it.

    `name` is the weight's in the network.
    """
    path, _, parameter = name.rpartition(".")
    layer = network.get_submodule(path)
    class_ = _LAYERS.get(type(layer))
    if class_ is None or parameter != "weight":
        return False
    if class_ is QuantisedEmbedding and weight.numel() < EMBEDDING_MIN:
        return False
    _replace(network, path, class_(layer, weight, dtype))
    return True


def unpack(network: torch.nn.Module) -> None:
    """Give the network the values of its quantised weights, for good, one layer after the other."""
    for path, layer in list(network.named_modules()):
        if isinstance(layer, Quantised):
            _replace(network, path, layer.plain())


def unpacked_bytes(network: torch.nn.Module) -> int:
    """Memory that the values of its quantised weights would take; 0 where it has none."""
    return sum(layer.unpacked_bytes for layer in network.modules() if isinstance(layer, Quantised))


def _replace(network: torch.nn.Module, path: str, layer: torch.nn.Module) -> None:
    above, _, own = path.rpartition(".")
    setattr(network.get_submodule(above), own, layer)


def _parameter(values: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(values, requires_grad=False)
