"""What steers a denoiser by a picture, whatever its make."""

from typing import Any, Final, NamedTuple

import torch

from generation.request_fields import ControlMode
from generation.runtime.tiling import Tile

SOFT: Final = 0.825
SOFT_LAST: Final = 12
ADAPTER_SOFT: Final = (0.25, 0.62, 0.825, 1.0)
"""By what A1111 multiplies a T2I-Adapter's answers, those to the finest level first."""


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
    mode: ControlMode = "balanced"
    """What goes before where the prompt and it disagree."""

    def weights(self, count: int, *, adapter: bool = False) -> list[float]:
        """By what each of so many answers is multiplied, those of the shallowest layers first.

        Source: Mikubill, github.com/Mikubill/sd-webui-controlnet (its soft injection).
        """
        if self.mode == "balanced":
            return [1.0] * count
        if adapter:
            return list(ADAPTER_SOFT[-count:])
        return [SOFT ** (SOFT_LAST - number) for number in range(count)]

    def shown(self, unwanted: tuple[bool, ...], like: torch.Tensor) -> torch.Tensor | None:
        """For each row of a call (B, 1, 1, 1) whether it acts there: where it is more important
        than the prompt, only on what is wanted. None where on all.
        """
        if self.mode != "control" or not any(unwanted):
            return None
        marks = like.new_tensor([0.0 if no else 1.0 for no in unwanted])
        return marks.repeat_interleave(len(like) // len(unwanted)).view(-1, 1, 1, 1)

    def acts(self, done: float) -> bool:
        """Whether it does once so much of the steps is done."""
        return self.start <= done and (done < self.end or self.end >= 1)

    def part(self, tile: Tile) -> torch.Tensor:
        """Its picture's part in a tile."""
        return tile.of(self.hint, self.factor)
