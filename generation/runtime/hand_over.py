"""Two checkpoints that share the steps of a picture: the base begins it, the refiner ends it.

As A1111's refiner does where it is switched by sampling steps: the schedule and the sampler with
all that it remembers stay as they are, and only what they ask is another.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch

from generation.runtime.denoiser import Denoiser
from generation.runtime.drawers import Drawer
from generation.runtime.residency import Residency


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


@contextlib.contextmanager
def at_work(
    drawers: tuple[Drawer, ...],
    denoisers: list[Denoiser],
    residency: Residency,
    share: float,
    calls: int,
    handed_over: Callable[[], None],
) -> Iterator[Denoiser | HandOver]:
    """What samplers call, its networks on the device meanwhile: those of the base, and once it has
    handed over, after its `share` of all `calls`, those of the refiner; `handed_over` is told then.
    """
    with contextlib.ExitStack() as working:
        working.enter_context(residency.at_work(*drawers[0].at_work))
        if len(drawers) == 1:
            yield denoisers[0]
            return
        refiner = drawers[1]
        first, second = denoisers

        def hand_over() -> None:
            working.close()
            handed_over()
            working.enter_context(residency.at_work(*refiner.at_work))

        yield HandOver(first, second, share, calls, hand_over)
