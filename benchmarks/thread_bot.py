"""The bot as most are built: it imports torch itself and draws in a thread of its own process.

The baseline of `benchmarks.latency`; everything but the engine is the real bot.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from bot import __main__ as command_line
from bot import app
from bot.config import ONLY_WORKER, Config
from generation.messages import (
    Configure,
    Failed,
    Finished,
    FromRuntime,
    Generate,
    JobEvent,
    Ready,
)


class Inbox:
    """What the runtime looks at for cancelled jobs."""

    def __init__(self) -> None:
        self.cancelled: set[str] = set()

    def is_cancelled(self, job: str) -> bool:
        """Whether somebody stopped it."""
        return job in self.cancelled


class ThreadEngine:
    """Draws with the runtime's own code, without a process of its own."""

    def __init__(self, config: Config) -> None:
        settings = msgspec.structs.replace(config.worker.runtime(), low_priority=False)
        self._configure = Configure(settings, config.storage.folder / "cache")
        self._events: asyncio.Queue[FromRuntime] = asyncio.Queue()
        self._inbox = Inbox()
        self._server: Any = None

    @property
    def ready(self) -> Ready | None:
        """What it draws on."""
        return self._server.ready if self._server is not None else None

    async def start(self) -> Ready:
        """Import torch, in a thread."""
        if self._server is None:
            self._loop = asyncio.get_running_loop()
            self._server = await asyncio.to_thread(self._make)
        ready: Ready = self._server.ready
        return ready

    def _make(self) -> Any:
        from generation.runtime.server import Server

        return Server(self._configure, self, self._inbox)  # type: ignore[arg-type]

    def send(self, message: FromRuntime) -> None:
        """Take the runtime's messages, as its outbox."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, message)

    async def generate(self, work: Generate) -> AsyncGenerator[JobEvent, None]:
        """The events of one job."""
        await self.start()
        running = asyncio.create_task(asyncio.to_thread(self._server.run, work))
        while True:
            event = await self._events.get()
            assert not isinstance(event, Ready)
            yield event
            if isinstance(event, Finished | Failed):
                break
        await running

    def hand_ahead(self, work: Generate) -> bool:
        """It takes one at a time."""
        return False

    def withdraw(self, job: str) -> None:
        """Nothing was handed ahead."""

    async def cancel(self, job: str) -> None:
        """Stop at the next step."""
        self._inbox.cancelled.add(job)

    async def stop(self) -> None:
        """Nothing to end."""


def _engines(config: Config, _helper: object) -> dict[str, ThreadEngine]:
    return {ONLY_WORKER: ThreadEngine(config)}


if __name__ == "__main__":
    app.make_engines = _engines  # type: ignore[assignment]
    sys.exit(command_line.main())
