"""What `[worker]` says of memory, as the planner takes it."""

from typing import Final

from generation.memory_plan import GIB, MemoryBounds
from generation.messages import Memory

RAM_RESERVE: Final = GIB
"""Bytes of main memory that are left to others."""
PINNED: Final = 0.4
"""Of all main memory, what may be pinned: more, and systems get slow or refuse."""
KEPT_SHARE: Final = 0.5
"""Of all main memory, what models of earlier jobs may keep where the settings say nothing."""

BOUNDS: Final[dict[Memory, MemoryBounds]] = {
    "auto": MemoryBounds(),
    "high": MemoryBounds(denoiser=("device",), others=("device",)),
    "medium": MemoryBounds(
        denoiser=("aside", "blocks", "leaves"), others=("aside", "blocks", "leaves")
    ),
    "low": MemoryBounds(denoiser=("blocks", "leaves"), others=("aside", "blocks", "leaves")),
}
"""What `memory` leaves to be chosen."""
