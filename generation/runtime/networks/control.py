"""What steers a denoiser by a picture, whatever its make."""

from typing import Any, NamedTuple

import torch

from generation.runtime.tiling import Tile


class Control(NamedTuple):
    """A ControlNet or T2I-Adapter, the picture that it reads, (1, 3, H, W) from 0 to 1 or its
    latents (1, C, h, w), and how strongly it acts: from the share `start` of the steps on, until
    before `end`.
    """

    module: Any
    hint: torch.Tensor
    scale: float
    kind: int = 0
    """Of the picture; by which number a union knows it."""
    start: float = 0.0
    end: float = 1.0
    factor: int = 1
    """Pixels of a side of what the picture's elements cover: more than one of latents."""

    def acts(self, done: float) -> bool:
        """Whether it does once so much of the steps is done."""
        return self.start <= done and (done < self.end or self.end >= 1)

    def part(self, tile: Tile) -> torch.Tensor:
        """Its picture's part in a tile."""
        return tile.of(self.hint, self.factor)
