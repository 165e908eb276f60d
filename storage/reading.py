"""Reading from SQLite in threads of its own.

An asynchronous driver goes to its thread and back for every step of a statement, eight times for
one small question: here a whole question goes there once, with the decoding of what it finds.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")
THREADS: Final = 4
"""Questions that are asked at once."""


class Reader:
    """Threads that read, each with a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads: ThreadPoolExecutor | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, which sees the database as it is at one moment."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def close(self) -> None:
        """Close the connections; blocks until what is being read has been."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self._engine.dispose()
