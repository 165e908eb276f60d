"""Nobody's many pictures keep another's one waiting."""

import asyncio

import pytest

from bot.pictures.turns import IN_MEMORY, OF_ONE_PERSON, DecoderTurns
from generation.refusal import Refused

ADA, BOB = 1, 2


class Decoder:
    """Takes one picture at a time, and as long as it is told to."""

    def __init__(self) -> None:
        self.turns = DecoderTurns()
        self.one = asyncio.Lock()
        self.done: list[str] = []
        self.next = asyncio.Semaphore(0)

    async def picture(self, person: int, name: str) -> None:
        async with self.turns.turn(person), self.one:
            await self.next.acquire()
            self.done.append(name)

    async def finish(self, count: int) -> None:
        for _ in range(count):
            self.next.release()
            for _ in range(10):
                await asyncio.sleep(0)


async def test_another_person_waits_for_one_picture_only() -> None:
    decoder = Decoder()
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(decoder.picture(ADA, f"ada {number}"))
        await asyncio.sleep(0)
        group.create_task(decoder.picture(BOB, "bob"))
        await asyncio.sleep(0)
        await decoder.finish(2)
        assert decoder.done == ["ada 0", "bob"]
        await decoder.finish(5)


async def test_one_picture_too_many_of_a_person_is_refused() -> None:
    decoder = Decoder()
    async with asyncio.TaskGroup() as group:
        for number in range(OF_ONE_PERSON):
            group.create_task(decoder.picture(ADA, str(number)))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="uploads_too_many"):
            await decoder.picture(ADA, "one more")
        group.create_task(decoder.picture(BOB, "bob"))
        await decoder.finish(OF_ONE_PERSON + 1)
    assert "bob" in decoder.done
    decoder.next.release()
    await decoder.picture(ADA, "one more")


async def test_few_files_are_in_memory_at_once() -> None:
    turns, inside, most = DecoderTurns(), 0, 0

    async def picture(person: int) -> None:
        nonlocal inside, most
        async with turns.turn(person):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(picture(person) for person in range(50)))
    assert (inside, most) == (0, IN_MEMORY)


async def test_nothing_is_remembered_of_who_waits_no_more() -> None:
    turns = DecoderTurns()

    async def cut_short() -> None:
        async with turns.turn(ADA):
            await asyncio.sleep(60)

    waiting = [asyncio.create_task(cut_short()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    del waiting, task
    assert (dict(turns._waiting), dict(turns._of_person)) == ({}, {})
