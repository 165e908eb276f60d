"""A LoRA file as what it does to each layer, whatever program wrote it.

Layers have the names that the file gives them; `lora_names` finds the modules. Names of tensors as
seen in files of kohya's sd-scripts, LyCORIS, OneTrainer, peft and diffusers since 0.14.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from generation.regular_files import open_regular
from generation.runtime.faults import JobError, broken
from generation.runtime.lora_deltas import (
    Decomposed,
    Full,
    Generalized,
    Hadamard,
    Kronecker,
    LowRank,
    Replacement,
    Rotation,
    Scaling,
    WeightChange,
)
from generation.safetensors_header import HeaderError, read_header

BUNDLE: Final = "bundle_emb."
"""OneTrainer's prefix for the embeddings that were trained together with a LoRA."""
PEFT_NOTES: Final = "lora_adapter_metadata"
"""Key of the metadata under which diffusers keeps peft's configuration."""
PEFT_FILE: Final = "adapter_model.safetensors"
PEFT_CONFIG: Final = "adapter_config.json"
PEFT_CONFIG_MAX: Final = 2**20
"""Bytes."""
HARMLESS: Final = ("v_pred", "ztsnr", "position_ids", "logit_scale")
"""Last parts of names of what says nothing of a layer."""
ENDINGS: Final = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_mid.weight": "core",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.bias": "up_bias",
    ".lora_up.bias": "up_bias",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".down.weight": "down",
    ".up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
    ".scale": "scale",
    ".scalar": "scalar",
    ".dora_scale": "magnitude",
    ".lora_magnitude_vector": "magnitude_by_output",
    ".lora_magnitude_vector.weight": "magnitude_by_output",
    **{f".{name}": name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    **{f".{name}": name for name in ("hada_t1", "hada_t2", "oft_blocks", "rescale", "on_input")},
    **{f".{name}": name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b")},
    **{f".{name}": name for name in ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
    **{f".{name}.weight": name for name in ("a1", "a2", "b1", "b2")},
    ".diff": "diff",
    ".w_norm": "diff",
    ".diff_b": "diff_b",
    ".b_norm": "diff_b",
    ".weight": "factors",
}
"""What a tensor is to its layer, by the end of its name; the longest that fits counts."""
_LONGEST_FIRST: Final = sorted(ENDINGS, key=len, reverse=True)
_ADAPTER: Final = re.compile(r"\.(lora_[AB]|lora_magnitude_vector)\.[^.]+\.(weight|bias)$")
"""Peft's names in memory, which have the adapter's name in them."""
_BUNDLED: Final = re.compile(r"(?P<token>.+?)\.(?P<part>string_to_param\.\*|[^.]+)")

NamedTensors = dict[str, torch.Tensor]
Take = Callable[..., list[torch.Tensor]]
Optional = Callable[[str], torch.Tensor | None]


@dataclass(frozen=True)
class Delta:
    """What a LoRA does to one layer."""

    layer: str
    """As the file names it."""
    tensors: tuple[str, ...]
    """Names of the tensors that say so."""
    weight: WeightChange | None = None
    bias: WeightChange | None = None
    further: WeightChange | None = None
    """Of inputs that the layer does not have, which it is given."""


@dataclass(frozen=True)
class LoraFile:
    """The contents of a LoRA file, in the file's precision, on the CPU."""

    deltas: tuple[Delta, ...]
    embeddings: Mapping[str, NamedTensors] = field(default_factory=dict)
    """Textual inversions by their token, each by the part that it is for: `clip_l`, `clip_g`, `*`
    for the only one; `…_out` of OneTrainer's embeddings behind the encoder."""
    unknown: tuple[str, ...] = ()
    """Names of tensors of no method that is known here."""


def read(path: Path, name: str) -> LoraFile:
    """The LoRA in a safetensors file; `name` is what people call it.

    Raises JobError: model_broken or another code of what is no safetensors file; lora_nan for
    values that are no numbers; lora_kind where no tensor is of a method that is known.
    """
    tensors, metadata = _load(path)
    for tensor in tensors.values():
        if not _is_finite(tensor):
            raise JobError("lora_nan", name=name)
    layers: dict[str, _Layer] = {}
    embeddings: dict[str, NamedTensors] = {}
    unknown: list[str] = []
    for full_name, tensor in tensors.items():
        if full_name.startswith(BUNDLE):
            bundled = _BUNDLED.fullmatch(full_name.removeprefix(BUNDLE))
            if bundled:
                part = bundled["part"].removeprefix("string_to_param.")
                embeddings.setdefault(bundled["token"], {})[part] = tensor
                continue
        plain = _ADAPTER.sub(r".\1.\2", full_name)
        ending = next((ending for ending in _LONGEST_FIRST if plain.endswith(ending)), None)
        if ending is None:
            unknown.append(full_name)
            continue
        layer = layers.setdefault(plain.removesuffix(ending), _Layer())
        if ENDINGS[ending] in layer.names:
            unknown.append(full_name)
            continue
        layer.names[ENDINGS[ending]] = full_name
        layer.tensors[ENDINGS[ending]] = tensor
    notes = _PeftNotes.of(path, metadata)
    deltas: list[Delta] = []
    for layer_name, layer in layers.items():
        delta = layer.delta(layer_name, notes)
        if delta.tensors:
            deltas.append(delta)
        unknown += [name for name in layer.names.values() if name not in delta.tensors]
    unknown = [name for name in unknown if name.rpartition(".")[2] not in HARMLESS]
    if not deltas:
        raise JobError("lora_kind", name=name)
    return LoraFile(tuple(deltas), embeddings, tuple(sorted(unknown)))


def _load(path: Path) -> tuple[NamedTensors, Mapping[str, str]]:
    try:
        header = read_header(path)
        # read, not mapped: of a file that is cut short meanwhile, mapped pages end the process
        with open_regular(path) as file:
            return safetensors.torch.load(file.read()), header.metadata
    except (HeaderError, OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise broken(path.name, error) from error


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    values = tensor.float() if tensor.itemsize == 1 else tensor
    # a sum is quick, and none of finite numbers unless they are very large
    return bool(values.sum(dtype=torch.float32).isfinite()) or bool(values.isfinite().all())


@dataclass
class _Layer:
    """The tensors of a layer by what they are to it."""

    names: dict[str, str] = field(default_factory=dict)
    tensors: NamedTensors = field(default_factory=dict)

    def delta(self, layer: str, notes: "_PeftNotes") -> Delta:
        """All that is understood; its `tensors` are empty where that is nothing."""
        used: set[str] = set()

        def take(*slots: str) -> list[torch.Tensor]:
            used.update(slots)
            return [self.tensors[slot] for slot in slots]

        def optional(slot: str) -> torch.Tensor | None:
            return take(slot)[0] if self._has(slot) else None

        weight: WeightChange | None = None
        bias: WeightChange | None = None
        match self._method():
            case "lora":
                down, up = take("down", "up")
                scale = self._scale(_first_side(down), notes.scale(layer, _first_side(down)), take)
                weight = LowRank(down, up, optional("core"), scale)
                if (own_bias := optional("up_bias")) is not None:
                    bias = Full(own_bias.float() * scale)
            case "loha":
                a, b = take("hada_w1_a", "hada_w1_b")
                a2, b2 = take("hada_w2_a", "hada_w2_b")
                pairs = ((a, b, optional("hada_t1")), (a2, b2, optional("hada_t2")))
                weight = Hadamard(pairs, self._scale(_first_side(b), None, take))
            case "lokr":
                first, second = (
                    tuple(take(*slots)) for slots in (self._factor("1"), self._factor("2"))
                )
                low_rank = next((parts for parts in (second, first) if len(parts) > 1), None)
                # where both are whole, alpha means nothing, and some files have odd ones
                rank = _first_side(low_rank[1]) if low_rank else None
                weight = Kronecker(first, second, self._scale(rank, None, take))
            case "glora":
                a1, a2, b1, b2 = take("a1", "a2", "b1", "b2")
                if _first_side(a2) > _first_side(a1):
                    # older files name them the other way round; a rank is less than a width
                    a1, a2, b1, b2 = a2, a1, b2, b1
                weight = Generalized(a1, a2, b1, b2, self._scale(_first_side(a2), None, take))
            case "oft":
                constraint = optional("alpha")
                limit = 0.0 if constraint is None else _number(constraint)
                weight = Rotation(take("oft_blocks")[0], optional("rescale"), limit)
            case "ia3":
                factors, on_input = take("factors", "on_input")
                weight = Scaling(factors, bool(_number(on_input)))
            case "full":
                weight = Full(take("diff")[0])
            case "replaced":
                weight = Replacement(take("scale")[0])
        if weight is not None:
            weight = self._decomposed(weight, optional)
        if self._has("diff_b"):
            bias = Full(take("diff_b")[0])
        return Delta(layer, tuple(self.names[slot] for slot in used), weight, bias)

    def _has(self, *slots: str) -> bool:
        return all(slot in self.tensors for slot in slots)

    def _method(self) -> str:
        if self._has("down", "up"):
            return "lora"
        if self._has("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"):
            return "loha"
        if all(
            self._has(f"lokr_w{n}") or self._has(f"lokr_w{n}_a", f"lokr_w{n}_b") for n in (1, 2)
        ):
            return "lokr"
        if self._has("a1", "a2", "b1", "b2"):
            return "glora"
        if self._has("oft_blocks"):
            return "oft"
        if self._has("factors", "on_input"):
            return "ia3"
        if self._has("diff"):
            return "full"
        # of a norm, in the names of Black Forest Labs; elsewhere a scale is one number
        return "replaced" if self._has("scale") and self.tensors["scale"].ndim else ""

    def _factor(self, number: str) -> tuple[str, ...]:
        """The names of the tensors of a factor of LoKr."""
        whole = f"lokr_w{number}"
        if self._has(whole):
            return (whole,)
        core = f"lokr_t{number}"
        return (f"{whole}_a", f"{whole}_b", *((core,) if self._has(core) else ()))

    def _scale(self, rank: int | None, noted: float | None, take: Take) -> float:
        """What the product is multiplied by: alpha / rank where the layer has an alpha."""
        scale = 1.0 if noted is None else noted
        if self._has("scale"):
            scale = _number(*take("scale"))
        elif self._has("alpha"):
            alpha = _number(*take("alpha"))
            scale = alpha / rank if rank else 1.0
        if self._has("scalar"):
            scale *= _number(*take("scalar"))
        return scale

    def _decomposed(self, change: WeightChange, optional: Optional) -> WeightChange:
        """With DoRA, where the layer has it; it is known for the low-rank methods."""
        if not isinstance(change, LowRank | Hadamard | Kronecker):
            return change
        for slot, by_output in (("magnitude", None), ("magnitude_by_output", True)):
            if (magnitude := optional(slot)) is not None:
                return Decomposed(change, magnitude, by_output)
        return change


def _first_side(tensor: torch.Tensor) -> int:
    return int(tensor.shape[0]) if tensor.ndim else 0


def _number(tensor: torch.Tensor) -> float:
    return float(tensor.flatten()[0]) if tensor.numel() else 0.0


@dataclass(frozen=True)
class _PeftNotes:
    """Peft's configuration by the network that it is for; "" where the file is for one only."""

    configs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, path: Path, metadata: Mapping[str, str]) -> "_PeftNotes":
        """From the file's metadata or, for a file of peft's own, from the JSON beside it."""
        notes = _object(metadata.get(PEFT_NOTES, ""))
        beside = path.with_name(PEFT_CONFIG)
        if not notes and path.name == PEFT_FILE and beside.is_file():
            try:
                with open_regular(beside) as file:
                    notes = _object(file.read(PEFT_CONFIG_MAX))
            except OSError:
                notes = {}
        configs: dict[str, dict[str, Any]] = {}
        for name, value in notes.items():
            network, _, key = name.rpartition(".")
            configs.setdefault(network, {})[key] = value
        return cls(configs)

    def scale(self, layer: str, rank: int) -> float | None:
        """lora_alpha / rank; None where nothing is noted of that layer."""
        for network, config in self.configs.items():
            if network and not layer.startswith(f"{network}."):
                continue
            alpha = config.get("lora_alpha")
            patterns = config.get("alpha_pattern")
            for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
                if f".{layer}".endswith(f".{pattern}"):
                    alpha = value
                    break
            if isinstance(alpha, int | float) and math.isfinite(alpha) and rank:
                return alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
        return None


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


FileStamp = tuple[str, int, int]
"""Path, bytes, time of change: a file that was replaced is another one."""


def stamp_of(path: Path) -> FileStamp:
    """What tells whether a file is still the same. Raises JobError where it has gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise broken(path.name, error) from error
    return os.fspath(path), found.st_size, found.st_mtime_ns
