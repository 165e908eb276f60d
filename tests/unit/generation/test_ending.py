"""A task that does not hear the first wish for its end ends all the same."""

import asyncio

from generation import ending
from generation.ending import ended


async def test_it_is_asked_until_it_ends() -> None:
    asked = 0

    async def deaf() -> None:
        nonlocal asked
        while asked < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                asked += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    await ended(task, None)
    assert task.done()
    assert asked == 3
    assert asyncio.get_running_loop().time() - began < 10 * ending.AGAIN_AFTER


async def test_one_that_has_ended_or_failed_is_no_matter() -> None:
    async def fails() -> None:
        raise ValueError

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await ended(task)
