"""What pictures are made on, and in which precision."""

import importlib.metadata
import platform
import sys

import psutil
import torch

from generation.messages import Precision, Ready, RuntimeSettings

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors")


class DeviceMissingError(Exception):
    """The settings name a device that this machine does not have."""


def choose_device(settings: RuntimeSettings) -> torch.device:
    """The device that the settings name, or the best there is. Raises DeviceMissingError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return torch.device(next((name for name, found in there.items() if found), "cpu"))
    if not there.get(settings.device, True):
        raise DeviceMissingError(f"[worker] device is {settings.device}, which torch does not find")
    return torch.device(settings.device)


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Half precision on CUDA, float32 elsewhere, unless the settings say otherwise."""
    if precision != "auto":
        return DTYPES[precision]
    return torch.float16 if device.type == "cuda" else torch.float32


def wider_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """In which precision a model that overflows in `dtype` is tried again; None where in none."""
    if dtype != torch.float16:
        return None
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def describe(device: torch.device, dtype: torch.dtype) -> Ready:
    """The worker's first message."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        name = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
        memory = psutil.virtual_memory().total
    return Ready(
        device=str(device),
        device_name=name,
        memory_total=memory,
        precision=str(dtype).removeprefix("torch."),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES}
        | {"darkroom": importlib.metadata.version("darkroom")},
    )


def lower_priority() -> None:
    """Let the bot's process go first wherever both want the processor."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        psutil.Process().nice(10)
