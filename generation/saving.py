"""Has written down what becomes of a job, however long the database is locked or the disk full."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from generation.job import Job
from generation.job_queue import JobQueue
from generation.messages import Unsaved

log = structlog.get_logger(__name__)

SAVE_AGAIN_AFTER: Final = (0.5, 1.0, 2.0, 5.0, 15.0)
"""Seconds between the tries to keep what was made; the last again and again."""
SAVED_WITHIN = 5.0
"""Seconds that a stop waits for the database."""

Returned = TypeVar("Returned")


class UnwantedError(Exception):
    """Somebody cancelled the job whose picture can't be kept."""


class Saver:
    """Tries again until it is written."""

    def __init__(self, queue: JobQueue, tell: Callable[[Job, Unsaved], None]) -> None:
        self.unwanted = asyncio.Event()
        """Set once the running job is cancelled."""
        self._queue = queue
        self._tell = tell

    async def save(
        self,
        job: Job,
        act: Callable[[], Coroutine[Any, Any, Returned]],
        *,
        drawn: bool = False,
        insist: bool = False,
    ) -> Returned:
        """Have something written, however long the database is locked or the disk full.

        With `drawn` the listeners hear that pictures are made which can't be kept yet. Raises what
        does not pass, and unless it is to `insist`, UnwantedError once the job is cancelled.
        """
        for wait in itertools.chain(SAVE_AGAIN_AFTER, itertools.repeat(SAVE_AGAIN_AFTER[-1])):
            try:
                return await _to_its_end(act())
            except Exception as error:
                code = self._queue.trouble(error)
                if code is None:
                    raise
                log.warning("not saved yet", job=job.id, code=code, error=str(error), seconds=wait)
            if drawn:
                self._tell(job, Unsaved(str(job.id), code))
            if insist:
                await asyncio.sleep(wait)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.unwanted.wait()
                raise UnwantedError
        raise AssertionError("it tries for ever")


async def _to_its_end(writing: Coroutine[Any, Any, Returned]) -> Returned:
    """Await; a stop lets it come to its end first, since half a transaction helps nobody."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=SAVED_WITHIN)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
