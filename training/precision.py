"""In which precision networks are trained."""

from typing import Final

import torch

BFLOAT16: Final = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors that compute in bfloat16 are said to have, on x86 and ARM."""


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context that computes in bfloat16, or in float32 on a processor that would only emulate
    bfloat16: a convolution took 45 times as long on one with AVX2.
    """
    has = torch.cpu.get_capabilities()
    computes = device.type != "cpu" or any(has.get(name, False) for name in BFLOAT16)
    return torch.autocast(device.type, torch.bfloat16, enabled=computes)
