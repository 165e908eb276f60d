"""How far the running job is."""

import time

from generation.messages import Progress


class Pace:
    """How far the running job is, and how long it still takes at its pace so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._denoising: tuple[float, int] | None = None
        self._progress: Progress | None = None

    def hear(self, progress: Progress) -> None:
        """Take note of a step."""
        self._progress = progress
        if progress.stage == "denoising" and self._denoising is None:
            self._denoising = (time.monotonic(), progress.step)

    def left(self, expected: float) -> float:
        """Seconds to its end; before it has a pace, what is left of `expected`."""
        now, progress = time.monotonic(), self._progress
        if progress is not None and self._denoising is not None:
            since, first = self._denoising
            if progress.step > first:
                return (now - since) / (progress.step - first) * (progress.steps - progress.step)
        return max(0.0, expected - (now - self._begun))
