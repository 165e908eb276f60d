"""What pictures are made on, and in which precision."""

import gc
import importlib.metadata
import platform
import sys
from typing import Final

import psutil
import structlog
import torch
from torch.nn import functional

from generation.families import Family
from generation.messages import Precision, Ready, RuntimeSettings
from generation.numerics import Computed
from generation.runtime.faults import JobError, is_out_of_memory

log = structlog.get_logger(__name__)

DTYPES: Final[dict[Computed, torch.dtype]] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors")


def choose_device(settings: RuntimeSettings) -> torch.device:
    """The device that the settings name, or the best there is. Raises JobError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return torch.device(next((name for name, found in there.items() if found), "cpu"))
    if not there.get(settings.device, True):
        raise JobError("device_missing", device=settings.device)
    return torch.device(settings.device)


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Half precision on CUDA, float32 elsewhere, unless the settings say otherwise."""
    if precision != "auto":
        return DTYPES[precision]
    return torch.float16 if device.type == "cuda" else torch.float32


def half_for(family: Family, dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """In which precision a family's models compute where others do in `dtype`: those that overflow
    in float16 do in bfloat16, or where there is none in float32.
    """
    if dtype != torch.float16 or family.half == "float16":
        return dtype
    return torch.bfloat16 if computes_in(device, torch.bfloat16) else torch.float32


def check_device(device: torch.device, dtype: torch.dtype) -> None:
    """Compute a little of what every model does. Raises JobError where that can't be done here.

    A torch that was not built for a GPU finds it all the same, and some devices have no half
    precision.
    """
    why = _why_not(device, dtype)
    if why is None:
        return
    log.error("the device does not compute", device=str(device), dtype=str(dtype), why=why)
    other = _why_not(device, torch.float32) if dtype != torch.float32 else why
    if other is not None:
        raise JobError("device_unusable", device=str(device))
    precision = str(dtype).removeprefix("torch.")
    raise JobError("precision_unusable", precision=precision, device=str(device))


def _why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    try:
        pixels = torch.ones(1, 4, 8, 8, device=device, dtype=dtype)
        weights = torch.ones(4, 4, 3, 3, device=device, dtype=dtype)
        features = functional.conv2d(pixels, weights, padding=1)
        features = functional.silu(functional.group_norm(features, 2))
        tokens = functional.layer_norm(features.flatten(2).transpose(1, 2), (4,))
        tokens = functional.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens
        functional.scaled_dot_product_attention(tokens, tokens, tokens).sum().item()
    except (RuntimeError, TypeError, AssertionError) as error:
        # other programs may use its memory now, and no more of it later
        return None if is_out_of_memory(error) else (str(error).splitlines() or ["?"])[0]
    return None


def wider_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """In which precision a model that overflows in `dtype` is tried again; None where in none."""
    if dtype != torch.float16:
        return None
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def describe(device: torch.device, dtype: torch.dtype) -> Ready:
    """The worker's first message."""
    name = name_of(device)
    if device.type == "cuda":
        free, memory = torch.cuda.mem_get_info(device)
    else:
        threads = torch.get_num_threads()
        name = f"{name}, {threads} thread{'' if threads == 1 else 's'}"
        memory = psutil.virtual_memory().total
        free = psutil.virtual_memory().available
    return Ready(
        device=str(device),
        device_name=name,
        memory_total=memory,
        memory_free=free,
        precision=str(dtype).removeprefix("torch."),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES}
        | {"darkroom": importlib.metadata.version("darkroom")},
    )


def name_of(device: torch.device) -> str:
    """What the processor or graphics card is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def computes_in(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a device has that precision."""
    return _why_not(device, dtype) is None


def name_of_dtype(dtype: torch.dtype) -> Computed:
    """As numerics and settings call it."""
    return next(name for name, found in DTYPES.items() if found == dtype)


def free_unused() -> None:
    """Give back what nothing refers to any more, on the device too. Not within the handler of an
    exception, whose frames hold tensors.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def lower_priority() -> None:
    """Let the bot's process go first wherever both want the processor."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        psutil.Process().nice(10)
