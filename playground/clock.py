"""The clock by which interactions, tokens and links end. Tests move it forward.

It also tells the time of day to the bot (ids, `Date`, timestamps), which tests may set hours apart
from this machine's: `skew`. What ends goes by `now`, so that a skew ends nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable


class Clock:
    """Wall-clock time plus an offset, with alarms that a move of the clock also sets off."""

    def __init__(self, offset: float = 0.0, skew: float = 0.0) -> None:
        self.offset = offset
        self.skew = skew
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Seconds since 1970, as this machine has it and tests moved it."""
        return time.time() + self.offset

    def told(self, seconds: float | None = None) -> float:
        """A time of `now`'s, by default now, as this Discord tells it."""
        return (self.now() if seconds is None else seconds) + self.skew

    def advance(self, seconds: float) -> None:
        self.offset += seconds
        self._ring()

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back once `now()` has reached `when`. There is no cancelling: look at the state."""
        heapq.heappush(self._alarms, (when, next(self._order), callback))
        self._arm()

    def stop(self) -> None:
        self._alarms.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alarms:
            delay = max(0.0, self._alarms[0][0] - self.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.now():
            heapq.heappop(self._alarms)[2]()
        self._arm()
