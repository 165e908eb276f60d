"""How the weights of a safetensors file are kept, told by its header: whole, in fp8, with scales.

Scales lie beside weights in two layouts of ComfyUI's: `scaled_fp8` once before all and
`X.scale_weight`, and since 2025 `X.comfy_quant` (JSON) with `X.weight_scale`, for which the
metadata may have `_quantization_metadata` instead. Source: QUANTIZATION.md of ComfyUI.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from generation.families.layout import Shapes

FP8: Final = ("F8_E4M3", "F8_E5M2")
PLAIN: Final = "fp8"
SCALED: Final = "scaled fp8"
LAYERS_KEY: Final = "_quantization_metadata"
OLD_MARK: Final = "scaled_fp8"
MARK: Final = ".comfy_quant"
SCALES: Final = (".scale_weight", ".weight_scale")
"""The older and the newer name of what a weight is to be multiplied by."""
EMBEDDINGS: Final = ("shared", "embed_tokens", "token_embedding", "position_embedding")
"""Tables of words, which the older layout leaves without scales."""
FOUR_BITS: Final = ("NF4", "FP4")
"""Weights of bitsandbytes', as `bitsandbytes_layout` gives their types."""
BITSANDBYTES: Final = (".quant_map", ".SCB")
"""Beside its weights: of 4 bits whose shape is not told, and of 8."""
WHY_MAX: Final = 120
"""Characters of a tensor's name in a sentence."""

Kinds = Mapping[str, str]


class Quantisation(msgspec.Struct, frozen=True):
    """How weights are kept."""

    name: str = ""
    """fp8, scaled fp8, NF4 or FP4; "" for whole ones."""
    unread: str = ""
    """What they are where nothing here reads them, as the end of "its weights are …"."""
    lacking: str = ""
    """Why nothing can be computed with them."""


def quantisation_of(shapes: Shapes, kinds: Kinds) -> Quantisation:
    """Of the weights of these shapes and types, as safetensors calls them."""
    four = next((kind for kind in kinds.values() if kind in FOUR_BITS), "")
    if not four and not any(kind in FP8 or kind in ("U8", "I8") for kind in kinds.values()):
        return Quantisation()
    marked = [name.removesuffix(MARK) for name in kinds if name.endswith(MARK)]
    scaled = [name.rpartition(".")[0] for name in kinds if name.endswith(SCALES)]
    unread = _unread(kinds, [*marked, *scaled])
    if unread:
        return Quantisation(unread=unread)
    missing = [*without_scale(marked, shapes), *_unscaled(shapes, kinds)]
    lacking = ""
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        lacking = f"the scales of {missing[0][:WHY_MAX]}{more} are not in it"
    elif odd := next((layer for layer in scaled if not _scale_fits(shapes, layer)), None):
        lacking = f"the scales of {odd[:WHY_MAX]} do not fit its weights"
    name = SCALED if scaled else PLAIN if any(k in FP8 for k in kinds.values()) else ""
    return Quantisation(four or name, lacking=lacking)


def marked_layers(metadata: Mapping[str, str]) -> list[str]:
    """The layers of which the metadata say that they are quantised."""
    text = metadata.get(LAYERS_KEY, "")
    try:
        said = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except (msgspec.MsgspecError, RecursionError):
        return []
    layers = said.get("layers")
    return [str(name) for name in layers] if isinstance(layers, dict) else []


def without_scale(layers: Iterable[str], shapes: Shapes) -> list[str]:
    """Which of these layers, whose weights are quantised, have no scale beside them."""
    return [
        layer
        for layer in layers
        if f"{layer}.weight" in shapes and not any(layer + scale in shapes for scale in SCALES)
    ]


def _unscaled(shapes: Shapes, kinds: Kinds) -> list[str]:
    """In the older layout: layers of 8 bits behind a mark that have no scale."""
    marks = tuple(
        name.removesuffix(OLD_MARK)
        for name in kinds
        if name == OLD_MARK or name.endswith(f".{OLD_MARK}")
    )
    if not marks:
        return []
    layers = [
        name.removesuffix(".weight")
        for name, kind in kinds.items()
        if kind in FP8
        and name.startswith(marks)
        and name.endswith(".weight")
        and len(shapes[name]) == 2
        and not name.removesuffix(".weight").endswith(EMBEDDINGS)
    ]
    return without_scale(layers, shapes)


def _unread(kinds: Kinds, layers: Iterable[str]) -> str:
    """What is kept in a way that is not read."""
    if any(name.endswith(BITSANDBYTES) for name in kinds):
        return "in a layout of bitsandbytes that does not tell their shapes"
    for layer in layers:
        kind = kinds.get(f"{layer}.weight", "")
        scale = next((kinds[layer + end] for end in SCALES if layer + end in kinds), "")
        if f"{layer}.weight_scale_2" in kinds:
            return "of 4 bits by ComfyUI (NVFP4)"
        if kind in FP8 and scale in ("U8", "F8_E8M0"):
            return "of 8 bits in blocks by ComfyUI (MXFP8)"
        if kind in ("I8", "U8"):
            return "whole numbers of 4 or 8 bits by ComfyUI"
    return ""


def _scale_fits(shapes: Shapes, layer: str) -> bool:
    """Whether there is one scale for the weight, for its rows, or for its blocks."""
    weight = shapes.get(f"{layer}.weight")
    scale = next(shapes[layer + end] for end in SCALES if layer + end in shapes)
    sides = tuple(side for side in scale if side != 1)
    if weight is None or not sides:
        return True
    return 0 not in sides and len(weight) > 1 and len(sides) <= 2 and scale[0] <= weight[0]
