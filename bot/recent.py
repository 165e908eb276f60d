"""What has just happened, so that it is not done twice."""

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

KEYS_MAX: Final = 10_000


class Recent:
    """Keys of the last `seconds`, and no more than KEYS_MAX of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: Hashable) -> bool:
        return self._since.get(key, -math.inf) >= time.monotonic() - self._seconds

    def discard(self, key: Hashable) -> None:
        """Forget a key; one that is not there is no error."""
        self._since.pop(key, None)

    def add(self, key: Hashable) -> bool:
        """Note a key; False where it is there already."""
        now = time.monotonic()
        while self._since and next(iter(self._since.values())) < now - self._seconds:
            self._since.popitem(last=False)
        if key in self._since:
            return False
        self._since[key] = now
        if len(self._since) > KEYS_MAX:
            self._since.popitem(last=False)
        return True
