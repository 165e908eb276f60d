"""Weights of 4 bits by a table of 16 values, as bitsandbytes keeps them.

Source: "QLoRA" (Dettmers et al., 2023), and the tables and the order of bitsandbytes (MIT).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch

from generation.bitsandbytes_layout import ABSMAX, NESTED, QuantState

NF4: Final = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""Quantiles of a normal distribution."""
_HALF: Final = (0.0, 1 / 192, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25)
FP4: Final = (*_HALF, *(-value for value in _HALF))
"""By sign, exponent and mantissa."""


def unpack_table(values: Sequence[float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from bytes (N, 1) to what the halves of each stand for (N, 2), the high one
    first.
    """
    pairs = torch.tensor([(high, low) for high in values for low in values])

    def unpack(data: torch.Tensor) -> torch.Tensor:
        return pairs.to(data.device)[data.flatten().int()]

    return unpack


def absmax_of(beside: Mapping[str, torch.Tensor | None], state: QuantState) -> torch.Tensor:
    """What each block of a weight is multiplied by, float32, (blocks,).

    `beside` are the tensors by the ends of their names.
    """
    absmax = beside[ABSMAX]
    scales, table = (beside[end] for end in NESTED)
    assert absmax is not None
    if scales is None or table is None:
        return absmax.float()
    spread = scales.repeat_interleave(state.nested_blocksize)[: len(absmax)]
    return table[absmax.int()] * spread + state.nested_offset
