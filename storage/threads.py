"""SQLite in threads of its own.

An asynchronous driver goes to its thread and back for every step of a statement, eight times for
one small question, and SQLAlchemy works on the event loop in between: here a whole question or
change goes there once, with the decoding of what it finds.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")
THREADS: Final = 4
"""Questions that are asked at once."""


class DatabaseThreads:
    """Threads that work with a database, each with a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[Connection], T], **options: Any) -> T:
        """What `work` returns, within a transaction that has these execution options."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, work, options)

    def _run(self, work: Callable[[Connection], T], options: dict[str, Any]) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                return work(connection)

    def close(self) -> None:
        """Close the connections; blocks until what is under way has ended."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self._engine.dispose()
