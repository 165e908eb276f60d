"""Whether quantised weights stay as their file has them, or are unpacked where there is room."""

from typing import Any, Final

import psutil
import torch

from generation.messages import RuntimeSettings
from generation.runtime.quantised import unpack, unpacked_bytes

SHARE: Final = 0.5
"""Of the free memory what the unpacked weights of one part may take: others come beside it."""


class Unpacking:
    """Settles it for parts that were just loaded. No picture depends on it."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self._wanted = settings.quantised
        self._device = device

    def settle(self, part: Any) -> None:
        """Unpack the weights of a part, where that is wanted or there is room; on the CPU."""
        size = unpacked_bytes(part)
        wanted = self._wanted
        if size and (wanted == "unpack" or (wanted == "auto" and size <= self.room() * SHARE)):
            unpack(part)

    def room(self) -> int:
        """Bytes that are free where weights wait and where they work."""
        free: int = psutil.virtual_memory().available
        if self._device.type == "cuda":
            free = min(free, torch.cuda.mem_get_info(self._device)[0])
        return free
