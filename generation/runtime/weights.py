"""Files become tensors, and tensors the weights of networks: the one place where they do."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.torch
import torch

from generation.gguf_header import read_gguf
from generation.models import GGUF, ModelFile
from generation.regular_files import open_regular, read_up_to
from generation.runtime.faults import JobError
from generation.safetensors_header import read_header

Weights = dict[str, torch.Tensor]


def read_tensors(file: Path) -> Weights:
    """The tensors of a file; of those in 8 bits with scales beside them, their values.

    Both layouts of ComfyUI: `scale_weight` and, newer, `weight_scale`.
    """
    if file.suffix.lower() == GGUF:
        return _read_gguf(file)
    tensors: Weights = safetensors.torch.load_file(file)
    for name in [name for name in tensors if name.endswith((".scale_weight", ".weight_scale"))]:
        scale = tensors.pop(name)
        weight = f"{name.rpartition('.')[0]}.weight"
        if weight in tensors:
            tensors[weight] = tensors[weight].float() * scale.float()
    for name in list(tensors):
        if name == "scaled_fp8" or name.endswith((".scale_input", ".input_scale", ".comfy_quant")):
            del tensors[name]
    return tensors


def check_header(file: Path) -> None:
    """Raise HeaderError or OSError for a file that is no whole model file."""
    if file.suffix.lower() == GGUF:
        read_gguf(file)
    else:
        read_header(file)


def _read_gguf(file: Path) -> Weights:
    header = read_gguf(file)
    tensors: Weights = {}
    with open_regular(file) as opened:
        for name, tensor in header.tensors.items():
            opened.seek(tensor.begin)
            raw = np.frombuffer(read_up_to(opened, tensor.size), np.uint8)
            rows = raw.reshape(-1, tensor.packing.size)
            kind = gguf.GGMLQuantizationType[tensor.packing.name]
            values = gguf.dequantize(rows, kind)
            tensors[name] = torch.from_numpy(values).reshape(tensor.shape)
    return tensors


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
) -> Any:
    """The module with these weights. Raises JobError where some are missing or of another shape."""
    wanted = module.state_dict()
    for name, like in wanted.items():
        if name in tensors and tensors[name].shape != like.shape:
            why = f"{part}: {name} has the shape {tuple(tensors[name].shape)}"
            raise JobError("model_broken", file=model.shown, why=why)
    # copies: what a file maps is not aligned, which changes the last bits of what is computed
    kept = {name: tensor.to(dtype, copy=True) for name, tensor in tensors.items() if name in wanted}
    told = module.load_state_dict(kept, strict=False, assign=True)
    check_whole(told.missing_keys, model, part)
    return module.eval().requires_grad_(False)


def check_whole(missing: list[str], model: ModelFile, part: str) -> None:
    """Raise JobError for a part of a model that lacks these tensors."""
    if missing:
        why = f"its {part} lacks {len(missing)} tensors, such as {missing[0]}"
        raise JobError("model_broken", file=model.shown, why=why)
