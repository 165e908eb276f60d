"""What time it is: the machine's, unless somebody knows better."""

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Tells an aware time."""


def machine_time() -> datetime:
    """By the machine's clock, which may be wrong."""
    return datetime.now(UTC)
