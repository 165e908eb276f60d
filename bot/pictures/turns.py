"""Whose picture is next: nobody's many keep another's one waiting."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from generation.refusal import Refused

OF_ONE_PERSON: Final = 10
"""Pictures that one person may have waiting."""
KEPT_OF_ONE_PERSON: Final = 20
"""As many may wait where one is only kept, because what it was given with is refused."""
IN_MEMORY: Final = 8
"""People whose picture is fetched, decoded or waits for that with its file in memory."""


class DecoderTurns:
    """Of each person one picture is in the works at a time, so that the people take turns."""

    def __init__(self) -> None:
        self._of_person: dict[int, asyncio.Lock] = {}
        self._waiting: Counter[int] = Counter()
        self._room = asyncio.Semaphore(IN_MEMORY)

    @contextlib.asynccontextmanager
    async def turn(self, person: int, most: int | None = OF_ONE_PERSON) -> AsyncIterator[None]:
        """Wait for a turn of this person and hold it. Raises Refused for more than `most`."""
        if most is not None and self._waiting[person] >= most:
            raise Refused("uploads_too_many", count=self._waiting[person])
        self._waiting[person] += 1
        lock = self._of_person.setdefault(person, asyncio.Lock())
        try:
            async with lock, self._room:
                yield
        finally:
            self._waiting[person] -= 1
            if not self._waiting[person]:
                del self._waiting[person], self._of_person[person]
