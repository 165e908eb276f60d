"""Where weights lie: on the device for good, only while they work, or layer by layer.

A part is a denoiser, a text encoder, a VAE or a ControlNet. `high` keeps every part on the device;
`medium` moves one there while it works (A1111's --medvram); `low` streams its layers through the
device (--lowvram).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from generation.families import Family
from generation.messages import Memory, RuntimeSettings

ROOM_FOR_WORK = 1.4
"""Weights times this is what a model needs to run entirely on the device."""
MEDIUM_BYTES = 3 * 2**30
"""Below this the largest part of a model does not fit beside its work."""
STREAM = True
"""Whether layers are copied while others work; only CUDA can."""


class Residency:
    """Places parts on one device."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self.device = device
        self._settings = settings

    def mode(self, family: Family, dtype: torch.dtype) -> Memory:
        """How a model of that family is kept in that precision."""
        if self.device.type != "cuda":
            return "high"
        if self._settings.memory != "auto":
            return self._settings.memory
        total = torch.cuda.get_device_properties(self.device).total_memory
        if total >= self.bytes_needed(family, dtype):
            return "high"
        return "medium" if total >= MEDIUM_BYTES else "low"

    def mode_of_small(self) -> Memory:
        """How what belongs to no family is kept: it makes room for models while it rests."""
        return "medium" if self.device.type == "cuda" else "high"

    def bytes_needed(self, family: Family, dtype: torch.dtype) -> float:
        """What a whole model takes on the device at work."""
        return family.bytes_of_all * (2 if dtype == torch.float32 else 1) * ROOM_FOR_WORK

    def has_room(self, family: Family, dtype: torch.dtype) -> bool:
        """Whether one more model may lie on the device beside those that do."""
        if self.device.type != "cuda" or self.mode(family, dtype) != "high":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return free >= self.bytes_needed(family, dtype)

    def place(self, part: Any, mode: Memory) -> None:
        """Put a part that was just loaded where it lies while it does not work."""
        part.residency = mode
        if mode == "high":
            part.to(self.device)
        elif mode == "low":
            self._stream(part)

    @contextlib.contextmanager
    def at_work(self, *parts: Any, aside: Sequence[Any] = ()) -> Iterator[None]:
        """While it lasts, these parts compute on the device. Those `aside`, which do not work
        meanwhile, leave it where the others have no room of their own.
        """
        moving = [part for part in parts if part.residency == "medium"]
        leaving = [part for part in aside if moving and part.residency == "high"]
        try:
            for part in leaving:
                part.to("cpu")
            for part in moving:
                part.to(self.device)
            yield
        finally:
            for part in moving:
                part.to("cpu")
            for part in leaving:
                part.to(self.device)
            if moving and self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _stream(self, part: Any) -> None:
        apply_group_offloading(
            part,
            onload_device=self.device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=STREAM,
        )
