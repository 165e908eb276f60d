"""Has tasks end that may not hear the first wish for it."""

import asyncio
from typing import Any, Final

AGAIN_AFTER: Final = 0.5
"""Seconds."""


async def ended(*tasks: "asyncio.Task[Any] | None", within: float = AGAIN_AFTER) -> None:
    """Cancel tasks until they have ended, again every so many seconds, in which they clear up.

    Until Python 3.12 `asyncio.wait_for`, which libraries use too, forgets that it was cancelled
    where what it waits for comes in the same turn of the loop.
    """
    left = [task for task in tasks if task is not None and not task.done()]
    while left:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=within)
        left = [task for task in left if not task.done()]
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
