"""Discord's ids: 42 bits of milliseconds since 2015, 10 bits of worker, 12 bits of counter."""

from __future__ import annotations

import time
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000

Snowflake = str
"""An id as Discord's JSON carries it: decimal digits."""


class Snowflakes:
    """Hands out ids that always grow, even when the computer's clock steps back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> Snowflake:
        stamp = (int(time.time() * 1000) - EPOCH_MS) << 22
        self._last = max(stamp, self._last + 1)
        return str(self._last)

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
