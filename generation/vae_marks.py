"""Which family a VAE is of, told by the VAEs inside the checkpoints that lie beside it.

Those of Stable Diffusion 1 and XL have the same tensors with other values, as have those of SD3 and
of Flux.1; and those that were trained further kept their encoder (ft-MSE, ft-EMA): the bias of its
last layer is that of a checkpoint whose family is known, up to the rounding of half precision.
"""

import math
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from generation.regular_files import open_regular, read_up_to
from generation.safetensors_header import HeaderText

Mark = tuple[float, ...]

NAMES: Final = tuple(
    re.compile(rb'"(?:first_stage_model\.|vae\.)?' + name + rb'"\s*:\s*(\{[^{}]*\})')
    for name in (rb"quant_conv\.bias", rb"encoder\.conv_out\.bias")
)
"""The last layer: SD3's and Flux.1's have none behind their encoder."""
SIZE_MAX: Final = 64
"""Numbers; published ones have 8 or 32."""
ALIKE: Final = 0.01
"""Of the largest number: how far two may be apart."""
FORMATS: Final = {"F32": "f", "F16": "e"}


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_DECODER: Final = msgspec.json.Decoder(_Entry)


def mark_of(path: Path, header: HeaderText) -> Mark:
    """What tells a VAE within this file; () where there is none, or none that tells anything."""
    found = next(filter(None, (name.search(header.tensors) for name in NAMES)), None)
    if found is None:
        return ()
    try:
        entry = _DECODER.decode(found[1])
    except msgspec.MsgspecError:
        return ()
    begin, end = entry.data_offsets
    if len(entry.shape) != 1 or not 0 <= begin < end <= begin + 4 * SIZE_MAX:
        return ()
    with open_regular(path) as file:
        file.seek(path.stat().st_size - header.weights + begin)
        content = read_up_to(file, end - begin)
    mark = _numbers(content, entry.dtype)
    return mark if all(map(math.isfinite, mark)) and any(mark) else ()


def _numbers(content: bytes, dtype: str) -> Mark:
    if dtype == "BF16":  # the upper half of a float of 32 bits
        pairs = (content[place : place + 2] for place in range(0, len(content) - 1, 2))
        content, dtype = b"".join(b"\0\0" + pair for pair in pairs), "F32"
    code = FORMATS.get(dtype)
    if code is None or len(content) % struct.calcsize(f"<{code}"):
        return ()
    return tuple(number for (number,) in struct.iter_unpack(f"<{code}", content))


def family_by(mark: Mark, known: Mapping[str, Sequence[Mark]]) -> str:
    """The family whose marks it is alike; "" where there is none, or more than one."""
    alike = [family for family, marks in known.items() if any(_alike(mark, m) for m in marks)]
    return alike[0] if len(alike) == 1 else ""


def _alike(one: Mark, other: Mark) -> bool:
    if not one or len(one) != len(other):
        return False
    most = max(map(abs, one)) * ALIKE
    return all(abs(a - b) <= most for a, b in zip(one, other, strict=True))
