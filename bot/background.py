"""Tasks that nobody awaits: failures are logged, and all have ended when their owner has."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
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
        if task in self._tasks:
            return
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", task=task.get_name(), exc_info=error)


class Lanes:
    """Work for many people, a few pieces at a time: each person's in its order, and nobody's
    hundred before another's first.
    """

    def __init__(self, tasks: BackgroundTasks, *, at_once: int, each: int, all_: int) -> None:
        self._tasks = tasks
        self._at_once = at_once
        self._each = each
        self._all = all_
        self._lanes: dict[Hashable, deque[Callable[[], Coroutine[Any, Any, None]]]] = {}
        self._ready: deque[Hashable] = deque()
        """Whose turn it is; not among them is whoever's work is being done."""
        self._workers = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, person: Hashable, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Have this done in turn; False where too much waits already."""
        lane = self._lanes.get(person)
        if self._waiting >= self._all or (lane is not None and len(lane) >= self._each):
            return False
        if lane is None:
            lane = self._lanes[person] = deque()
            self._ready.append(person)
        lane.append(work)
        self._waiting += 1
        if self._workers < self._at_once:
            self._workers += 1
            self._tasks.spawn(self._work())
        return True

    async def _work(self) -> None:
        try:
            while self._ready:
                person = self._ready.popleft()
                lane = self._lanes[person]
                self._waiting -= 1
                try:
                    await lane.popleft()()
                except Exception:
                    log.exception("a piece of work failed")
                if lane:
                    self._ready.append(person)
                else:
                    del self._lanes[person]
        finally:
            self._workers -= 1
