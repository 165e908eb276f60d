"""Tasks that nobody awaits: failures are logged, and all have ended when their owner has."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class BackgroundTasks:
    """The tasks of one owner, which ends them in order: first it waits, then it cancels."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Have a coroutine run; what it raises is logged."""
        task = asyncio.create_task(coroutine)
        self._keep(task)
        return task

    def join(self) -> None:
        """Have the current task, which somebody else started, count as one of these."""
        task = asyncio.current_task()
        assert task is not None
        self._keep(task)

    async def close(self, seconds: float) -> None:
        """Wait for all but the current task; what takes longer than `seconds` is cancelled.

        A query that is cut off would leave its connection open, so each first has its time.
        """
        others = self._tasks - {asyncio.current_task()}
        if not others:
            return
        _, stuck = await asyncio.wait(others, timeout=seconds)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", task=task.get_name(), exc_info=error)
