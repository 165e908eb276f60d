"""Weights of 4 bits as bitsandbytes writes them into safetensors files: what lies beside each.

`X.weight` are the bytes of all values in a column, two to a byte, the first in the high half;
`X.weight.absmax` what each block of them is multiplied by, itself in 8 bits where
`nested_absmax` and `nested_quant_map` are there; and `X.weight.quant_state.bitsandbytes__nf4` is a
JSON that holds the shape. Source: `QuantState.as_dict` of bitsandbytes (MIT).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from generation.regular_files import open_regular, printable, read_up_to
from generation.safetensors_header import HeaderError, HeaderText, places

STATE: Final = ".quant_state.bitsandbytes__"
ABSMAX: Final = ".absmax"
NESTED: Final = (".nested_absmax", ".nested_quant_map")
BESIDE: Final = (ABSMAX, ".quant_map", *NESTED)
STATE_MAX: Final = 4096
"""Bytes; those that are written have some 200."""
WHY_MAX: Final = 120
Kind = Annotated[str, Meta(pattern="^(nf4|fp4)$")]
SideLength = Annotated[int, Meta(ge=1, le=2**31)]


class QuantState(msgspec.Struct, frozen=True):
    """How one weight was quantised."""

    quant_type: Kind
    blocksize: SideLength
    shape: Annotated[tuple[SideLength, ...], Meta(min_length=1, max_length=6)]
    nested_blocksize: SideLength = 1
    nested_offset: float = 0.0


def weight_of(name: str) -> str:
    """The weight that a tensor says the state of; "" for other tensors."""
    before, found, _ = name.rpartition(STATE)
    return before if found else ""


def read_state(content: bytes) -> QuantState:
    """Raises ValueError for what is none."""
    return msgspec.json.decode(content, type=QuantState)


def has_states(text: HeaderText) -> bool:
    """Whether some of a file's weights are of 4 bits."""
    return STATE.encode() in text.tensors


def states(path: Path, text: HeaderText) -> dict[str, QuantState]:
    """Of all weights of 4 bits. Raises HeaderError, and OSError as files raise it."""
    found: dict[str, QuantState] = {}
    with open_regular(path) as file:
        begin = path.stat().st_size - text.weights
        for name, (first, end) in places(text.tensors).items():
            weight = weight_of(name)
            if not weight:
                continue
            file.seek(begin + first)
            try:
                found[weight] = read_state(read_up_to(file, min(end - first, STATE_MAX)))
            except (ValueError, RecursionError) as error:
                why = f"how {printable(weight)[:WHY_MAX]} was quantised can't be read"
                raise HeaderError("model_broken", why) from error
    return found


def as_whole(
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
    packed: Mapping[str, QuantState],
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes and types as if no weight were quantised, those that were of the type NF4 or FP4.

    Raises HeaderError for a weight of another size than its state says, and for one without scales.
    """
    beside = {weight + end for weight in packed for end in BESIDE}
    own = {n: s for n, s in shapes.items() if n not in beside and not weight_of(n)}
    for weight, state in packed.items():
        values, shown = math.prod(state.shape), printable(weight)[:WHY_MAX]
        if math.prod(shapes.get(weight, (0,))) != -(-values // 2):
            raise HeaderError("model_broken", f"{shown} has another size than is said of it")
        if math.prod(shapes.get(weight + ABSMAX, (0,))) != -(-values // state.blocksize):
            raise HeaderError("model_broken", f"the scales of {shown} are not in it")
        if kinds[weight + ABSMAX] == "U8" and any(weight + end not in shapes for end in NESTED):
            raise HeaderError("model_broken", f"the scales of {shown} are not in it")
        own[weight] = state.shape
    return own, {n: packed[n].quant_type.upper() if n in packed else kinds[n] for n in own}
