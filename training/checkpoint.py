"""Checkpoints that survive a kill: written beside the old one, then put in its place."""

from pathlib import Path
from typing import Any

import torch


def save(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`; a reader sees the old file or the new one, never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    torch.save(state, beside)
    beside.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
