"""Two checkpoints that share the steps of a picture: the base begins it, the refiner ends it.

As A1111's refiner does where it is switched by sampling steps: the schedule and the sampler with
all that it remembers stay as they are, and only what they ask is another.
"""

from collections.abc import Callable

import torch

from generation.runtime.denoiser import Denoiser


class HandOver:
    """What samplers call: first one denoiser, and from a share of the calls on the other."""

    def __init__(
        self,
        base: Denoiser,
        refiner: Denoiser,
        share: float,
        calls: int,
        hand_over: Callable[[], None],
    ) -> None:
        """`share` of all `calls` are the base's; `hand_over` is told before the refiner's first."""
        self.uncond: torch.Tensor | None = None
        """As of Denoiser."""
        self.handed_over = False
        self._base = base
        self._refiner = refiner
        self._share = share
        self._calls = calls
        self._hand_over = hand_over

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """As Denoiser's."""
        if not self.handed_over and self._base.calls / self._calls >= self._share:
            self._hand_over()
            self.handed_over = True
            # prompts that change over the steps go on where they are
            self._refiner.calls = self._base.calls
        asked = self._refiner if self.handed_over else self._base
        denoised = asked(x, sigma)
        self.uncond = asked.uncond
        return denoised
