"""Files become tensors, and tensors the weights of networks: the one place where they do."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import gguf
import safetensors.torch
import torch

from generation import bitsandbytes_layout
from generation.gguf_header import GgufTensor, read_gguf
from generation.model_settings import Quantise
from generation.models import GGUF, ModelFile
from generation.quantisation import MARK, OLD_MARK, SCALES
from generation.regular_files import open_regular
from generation.runtime import four_bits
from generation.runtime.faults import JobError
from generation.runtime.gguf_blocks import UNPACK
from generation.runtime.quantised import Packed, Packing, keep_quantised
from generation.runtime.quantising import can_be_quantised, packed
from generation.safetensors_header import read_header

Weights = dict[str, torch.Tensor]

FLOAT8: Final = (torch.float8_e4m3fn, torch.float8_e5m2)
BESIDE: Final = (MARK, ".scale_input", ".input_scale")
"""Ends of the names of what says how weights of 8 bits were made, or is for what is multiplied with
them in 8 bits."""
PLAIN: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
}
"""GGUF's types that are torch's own."""


def read_tensors(file: Path) -> Weights:
    """The tensors of a file; those of fewer than 16 bits as `Packed`.

    Scales beside weights are taken up in both layouts of ComfyUI: `scale_weight` and, newer,
    `weight_scale`.
    """
    if file.suffix.lower() == GGUF:
        return _read_gguf(file)
    tensors: Weights = safetensors.torch.load_file(file)
    for name, tensor in list(tensors.items()):
        if name.endswith(BESIDE) or name.rpartition(".")[2] == OLD_MARK:
            del tensors[name]
        elif tensor.dtype in FLOAT8 and tensor.ndim:
            layer = name.removesuffix(".weight")
            scale = next((tensors[layer + s] for s in SCALES if layer + s in tensors), None)
            tensors[name] = _float8(tensor, scale)
    for name in list(tensors):
        if weight := bitsandbytes_layout.weight_of(name):
            tensors[weight] = _four_bits(tensors, weight, name)
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(SCALES)}


def _four_bits(tensors: Weights, weight: str, state_name: str) -> torch.Tensor:
    """A weight of bitsandbytes'; what lies beside it is taken out of the tensors."""
    beside = {end: tensors.pop(weight + end, None) for end in bitsandbytes_layout.BESIDE}
    state = bitsandbytes_layout.read_state(bytes(tensors.pop(state_name).tolist()))
    absmax = four_bits.absmax_of(beside, state)
    packing = Packing(state.quant_type.upper(), values=2)
    data, width = tensors[weight], math.prod(state.shape[1:])
    if len(state.shape) > 1 and width % state.blocksize == 0:
        rows = data.reshape(state.shape[0], -1)
        return Packed(packing, rows, state.shape, absmax.reshape(len(rows), -1), mapped=True)
    # blocks that go on from one row to the next
    values = packing.unpack(data.reshape(1, -1), None).flatten()[: math.prod(state.shape)]
    spread = absmax.repeat_interleave(state.blocksize)[: len(values)]
    return (values * spread).reshape(state.shape)


def _float8(tensor: torch.Tensor, scale: torch.Tensor | None) -> Packed:
    kind = str(tensor.dtype).removeprefix("torch.")
    rows = tensor.view(torch.uint8).reshape(len(tensor), -1)
    if scale is not None:
        scale = scale.float()
        # one for all, for each row, for parts of rows, or for squares
        scale = scale.reshape(1, 1) if scale.numel() == 1 else scale.reshape(len(scale), -1)
        if 1 < len(scale) < len(rows):
            scale = scale.repeat_interleave(-(-len(rows) // len(scale)), 0)[: len(rows)]
    packing = Packing(kind, float8=tensor.dtype)
    return Packed(packing, rows, tensor.shape, scale, mapped=True)


def check_header(file: Path) -> None:
    """Raise HeaderError or OSError for a file that is no whole model file."""
    if file.suffix.lower() == GGUF:
        read_gguf(file)
    else:
        read_header(file)


def _read_gguf(file: Path) -> Weights:
    header = read_gguf(file)
    with open_regular(file) as opened:
        return {name: _gguf_tensor(opened, tensor) for name, tensor in header.tensors.items()}


def _gguf_tensor(file: BinaryIO, tensor: GgufTensor) -> torch.Tensor:
    name, values, size = tensor.packing
    file.seek(tensor.begin)
    data = torch.empty(tensor.size, dtype=torch.uint8)
    _read_into(file, data)
    if name in PLAIN:
        return data.view(PLAIN[name]).reshape(tensor.shape)
    whole_rows = tensor.shape and math.prod(tensor.shape[1:]) % values == 0
    if name not in UNPACK or not whole_rows:
        kind = gguf.GGMLQuantizationType[name]
        found = gguf.dequantize(data.numpy().reshape(-1, size), kind)
        return torch.from_numpy(found).reshape(tensor.shape)
    rows = data.reshape(tensor.shape[0], -1)
    return Packed(Packing(name, values, size), rows, tensor.shape)


def _read_into(file: BinaryIO, data: torch.Tensor) -> None:
    opened: Any = file  # a file without a buffer
    rest = memoryview(data.numpy().data)
    while rest and (count := opened.readinto(rest)):
        rest = rest[count:]
    if rest:
        raise EOFError("it became shorter while it was read")


def variant_of(folder: Path) -> str | None:
    """Which of several precisions of a part is there; None for the plain one, which goes first."""
    names = [file.name for file in folder.glob("*.safetensors")]
    variants = [re.match(r"[\w-]+?\.([a-z]\w*)(?:-\d+-of-\d+)?\.safetensors", n) for n in names]
    if not variants or any(found is None for found in variants):
        return None
    return sorted(found[1] for found in variants if found is not None)[0]


def read_folder(folder: Path) -> Weights:
    """The tensors of a part in one file or several."""
    variant = variant_of(folder)
    files = [
        file
        for file in sorted(folder.glob("*.safetensors"))
        if (f".{variant}" in file.name) == (variant is not None)
        or (variant is None and not re.match(r"[\w-]+?\.[a-z]\w*(-\d+-of-\d+)?\.safet", file.name))
    ]
    return {name: tensor for file in files for name, tensor in read_tensors(file).items()}


def filled(
    module: Any,
    tensors: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    model: ModelFile,
    part: str,
    to: Quantise = "",
) -> Any:
    """The module with these weights; layers that can hold them packed do. Whole ones of its blocks
    become `to`.

    Raises JobError where some are missing or of another shape.
    """
    wanted = module.state_dict()
    kept: Weights = {}
    for name, like in wanted.items():
        tensor = tensors.get(name)
        if tensor is None:
            continue
        if _sides(tensor) != _sides(like):
            why = f"{part}: {name} has the shape {tuple(tensor.shape)}"
            raise JobError("model_broken", file=model.shown, why=why)
        if tensor.shape != like.shape:
            tensor = tensor.reshape(like.shape)
        if to and can_be_quantised(module, name, tensor):
            tensor = packed(tensor.to(dtype), to)
        if isinstance(tensor, Packed):
            if not keep_quantised(module, name, tensor, dtype):
                kept[name] = tensor.dense(dtype)
        else:
            # a copy: what a file maps is not aligned, which changes the last bits of what is
            # computed
            kept[name] = tensor.to(dtype, copy=True)
    told = module.load_state_dict(kept, strict=False, assign=True)
    check_whole(told.missing_keys, model, part)
    return module.eval().requires_grad_(False)


def _sides(tensor: torch.Tensor) -> tuple[int, ...]:
    """Of a shape those that matter: some converters leave off sides of one, or add them."""
    return tuple(side for side in tensor.shape if side != 1)


def check_whole(missing: list[str], model: ModelFile, part: str) -> None:
    """Raise JobError for a part of a model that lacks these tensors."""
    if missing:
        why = f"its {part} lacks {len(missing)} tensors, such as {missing[0]}"
        raise JobError("model_broken", file=model.shown, why=why)
