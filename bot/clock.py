"""What time it is at Discord: this machine's clock may be wrong by hours, or jump."""

import time
from datetime import UTC, datetime, timedelta


class DiscordClock:
    """Goes by the times that Discord tells, and by the machine's monotonic clock between them.

    A told time arrives late, never early: so the latest that they amount to is the truest. Until
    one is told, the machine's own time has to do.
    """

    def __init__(self) -> None:
        self._epoch: datetime | None = None
        """Discord's time when the monotonic clock was at 0."""

    def observe(self, told: datetime) -> None:
        """Discord has just told its time: in an id, or in a header."""
        epoch = told - timedelta(seconds=time.monotonic())
        if self._epoch is None or epoch > self._epoch:
            self._epoch = epoch

    def now(self) -> datetime:
        """The time at Discord."""
        if self._epoch is None:
            return datetime.now(UTC)
        return self._epoch + timedelta(seconds=time.monotonic())
