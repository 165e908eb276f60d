"""Discord's ids: 42 bits of milliseconds since 2015, 10 bits of worker, 12 bits of counter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000

Snowflake = str
"""An id as Discord's JSON carries it: decimal digits."""


class Snowflakes:
    """Hands out ids that always grow, even when the computer's clock steps back.

    `now` gives Unix seconds. Only `restart` lets ids go back, after the clock was set.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = 0
        self._worker = 0

    def next(self) -> Snowflake:
        stamp = (int(self._now() * 1000) - EPOCH_MS) << 22 | self._worker << 12
        self._last = max(stamp, self._last + 1)
        return str(self._last)

    def restart(self) -> None:
        """Go by the clock anew; another worker's number keeps ids from coming twice."""
        self._last = 0
        self._worker = (self._worker + 1) % 1024

    def after(self, snowflake: Snowflake) -> None:
        """Never hand out an id at or below this one (it was read from disk)."""
        self._last = max(self._last, int(snowflake))


def unix_time(snowflake: Snowflake) -> float:
    """Seconds since 1970 at which the id was made."""
    return ((int(snowflake) >> 22) + EPOCH_MS) / 1000


def timestamp(seconds: float) -> str:
    """Unix seconds as Discord writes times: ISO 8601 with microseconds and +00:00."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def created_at(snowflake: Snowflake) -> str:
    return timestamp(unix_time(snowflake))


def is_snowflake(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20
