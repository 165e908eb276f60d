"""The values of GGUF's blocks, computed by torch on whatever device they lie.

Each function takes blocks (N, bytes of one) of uint8 and gives their values (N, values of one) in
float32. Source: the structures of ggml-common.h and `dequantize_row_*` of ggml-quants.c (MIT).
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch

Unpack = Callable[[torch.Tensor], torch.Tensor]

_IQ4_VALUES: Final = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _halves(blocks: torch.Tensor, begin: int) -> torch.Tensor:
    """The half-precision number that begins there, (N, 1)."""
    return blocks[:, begin : begin + 2].contiguous().view(torch.float16).float()


def _shifted(data: torch.Tensor, shifts: tuple[int, ...], mask: int) -> torch.Tensor:
    """The bits of each byte (N, …, B) that each shift leaves, (N, …, shifts, B)."""
    by = torch.tensor(shifts, dtype=torch.uint8, device=data.device).unsqueeze(-1)
    return (data.unsqueeze(-2) >> by) & mask


def _nibbles(data: torch.Tensor) -> torch.Tensor:
    """The low halves of all bytes, then the high ones, (N, 2 B)."""
    return _shifted(data, (0, 4), 0x0F).flatten(1)


def _fifth_bits(data: torch.Tensor) -> torch.Tensor:
    """Of 32 values, from 4 bytes (N, 4), as 0 or 16."""
    bits = (data.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8, device=data.device)) & 1
    return bits.flatten(1) << 4


def _q4_0(blocks: torch.Tensor) -> torch.Tensor:
    return _halves(blocks, 0) * (_nibbles(blocks[:, 2:]).float() - 8)


def _q4_1(blocks: torch.Tensor) -> torch.Tensor:
    return _halves(blocks, 0) * _nibbles(blocks[:, 4:]).float() + _halves(blocks, 2)


def _q5_0(blocks: torch.Tensor) -> torch.Tensor:
    whole = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return _halves(blocks, 0) * (whole.float() - 16)


def _q5_1(blocks: torch.Tensor) -> torch.Tensor:
    whole = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _halves(blocks, 0) * whole.float() + _halves(blocks, 2)


def _q8_0(blocks: torch.Tensor) -> torch.Tensor:
    return _halves(blocks, 0) * blocks[:, 2:].contiguous().view(torch.int8).float()


def _q2_k(blocks: torch.Tensor) -> torch.Tensor:
    """Sixteen scales and offsets of four bits each, 64 bytes of two bits, d and dmin."""
    scales = blocks[:, :16]
    factor = _halves(blocks, 80) * (scales & 0x0F).float()
    offset = _halves(blocks, 82) * (scales >> 4).float()
    values = _shifted(blocks[:, 16:80].reshape(len(blocks), 2, 32), (0, 2, 4, 6), 3)
    values = values.reshape(len(blocks), 16, 16).float()
    return (factor.unsqueeze(-1) * values - offset.unsqueeze(-1)).flatten(1)


def _q3_k(blocks: torch.Tensor) -> torch.Tensor:
    """A third bit each in 32 bytes, two bits each in 64, sixteen scales of six bits in 12, d."""
    low = _nibbles(blocks[:, 96:104])
    high = _shifted(blocks[:, 104:108], (0, 2, 4, 6), 3).flatten(1)
    factor = _halves(blocks, 108) * ((low | (high << 4)).float() - 32)
    values = _shifted(blocks[:, 32:96].reshape(len(blocks), 2, 32), (0, 2, 4, 6), 3)
    third = _shifted(blocks[:, :32], tuple(range(8)), 1).reshape(len(blocks), 2, 4, 32)
    whole = values.float() - 4 * (1 - third.float())
    found = factor.unsqueeze(-1) * whole.reshape(len(blocks), 16, 16)
    return found.flatten(1)


def _scales_of_six_bits(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight scales and eight offsets out of 12 bytes (N, 12)."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat((first & 63, (third & 0x0F) | ((first >> 6) << 4)), dim=1)
    offsets = torch.cat((second & 63, (third >> 4) | ((second >> 6) << 4)), dim=1)
    return scales.float(), offsets.float()


def _with_offsets(blocks: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Q4_K and Q5_K: d, dmin, scales, and 256 whole numbers."""
    scales, offsets = _scales_of_six_bits(blocks[:, 4:16])
    factor = (_halves(blocks, 0) * scales).unsqueeze(-1)
    offset = (_halves(blocks, 2) * offsets).unsqueeze(-1)
    return (factor * values.reshape(len(blocks), 8, 32).float() - offset).flatten(1)


def _q4_k(blocks: torch.Tensor) -> torch.Tensor:
    return _with_offsets(blocks, _shifted(blocks[:, 16:].reshape(len(blocks), 4, 32), (0, 4), 0x0F))


def _q5_k(blocks: torch.Tensor) -> torch.Tensor:
    low = _shifted(blocks[:, 48:].reshape(len(blocks), 4, 32), (0, 4), 0x0F)
    fifth = _shifted(blocks[:, 16:48], tuple(range(8)), 1).reshape(len(blocks), 4, 2, 32)
    return _with_offsets(blocks, low | (fifth << 4))


def _q6_k(blocks: torch.Tensor) -> torch.Tensor:
    """Four bits each in 128 bytes, two bits each in 64, sixteen scales of eight bits, d."""
    low = _shifted(blocks[:, :128].reshape(len(blocks), 2, 64), (0, 4), 0x0F).reshape(-1, 2, 4, 32)
    high = _shifted(blocks[:, 128:192].reshape(len(blocks), 2, 32), (0, 2, 4, 6), 3)
    scales = blocks[:, 192:208].contiguous().view(torch.int8).float()
    whole = (low | (high << 4)).reshape(len(blocks), 16, 16).float() - 32
    return ((_halves(blocks, 208) * scales).unsqueeze(-1) * whole).flatten(1)


def _iq4_values(data: torch.Tensor) -> torch.Tensor:
    table = torch.tensor(_IQ4_VALUES, dtype=torch.float32, device=data.device)
    return table[_shifted(data, (0, 4), 0x0F).flatten(-2).long()]


def _iq4_nl(blocks: torch.Tensor) -> torch.Tensor:
    return _halves(blocks, 0) * _iq4_values(blocks[:, 2:])


def _iq4_xs(blocks: torch.Tensor) -> torch.Tensor:
    """d, eight scales of six bits: two in 2 bytes, four in 4; then 128 bytes."""
    low = _shifted(blocks[:, 4:8], (0, 4), 0x0F).transpose(1, 2).flatten(1)
    high = _shifted(blocks[:, 2:4], (0, 2, 4, 6), 3).transpose(1, 2).flatten(1)
    factor = _halves(blocks, 0) * ((low | (high << 4)).float() - 32)
    values = _iq4_values(blocks[:, 8:].reshape(len(blocks), 8, 16))
    return (factor.unsqueeze(-1) * values).flatten(1)


UNPACK: Final[Mapping[str, Unpack]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
}
"""By the name of the type; the others are unpacked by the gguf library when they are read."""
