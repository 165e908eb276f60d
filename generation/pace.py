"""How far the running job is."""

import time
from typing import Final

from generation.messages import Progress

SHORT_STEP: Final = 1.0
"""Seconds; of longer steps not even the last is ahead where a job is `ending`."""


class Pace:
    """How far the running job is, and how long it still takes at its pace so far."""

    def __init__(self) -> None:
        self._begun = self._heard = time.monotonic()
        self._denoising: tuple[float, int] | None = None
        self._progress: Progress | None = None
        self.ending = False
        """Whether all steps are done, or all but one short one: its pictures are decoded next."""

    def hear(self, progress: Progress) -> None:
        """Take note of a step."""
        now, before = time.monotonic(), self._progress
        if progress.stage in ("denoising", "hires", "decoding"):
            left = progress.steps - progress.step
            last = progress.step - before.step if before is not None else 0
            self.ending = left <= (last if now - self._heard < SHORT_STEP else 0)
        self._progress, self._heard = progress, now
        if progress.stage == "denoising" and self._denoising is None:
            self._denoising = (now, progress.step)

    def left(self, expected: float) -> float:
        """Seconds to its end; before it has a pace, what is left of `expected`."""
        now, progress = time.monotonic(), self._progress
        if progress is not None and self._denoising is not None:
            since, first = self._denoising
            if progress.step > first:
                return (now - since) / (progress.step - first) * (progress.steps - progress.step)
        return max(0.0, expected - (now - self._begun))
