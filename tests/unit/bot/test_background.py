"""Work in lanes: bounded, in order, and fair."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from bot.background import BackgroundTasks, Lanes

Work = Callable[[], Coroutine[Any, Any, None]]


class Diary:
    """What was done, in order, and how much of it at once."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.under_way: list[str] = []
        self.most = 0

    def work(self, name: str) -> Work:
        async def do() -> None:
            assert name[0] not in [other[0] for other in self.under_way], "two of one person"
            self.under_way.append(name)
            self.most = max(self.most, len(self.under_way))
            await asyncio.sleep(0)
            self.under_way.remove(name)
            self.done.append(name)

        return do


def lanes(tasks: BackgroundTasks, **bounds: int) -> Lanes:
    return Lanes(tasks, **{"at_once": 2, "each": 100, "all_": 1000, **bounds})


async def test_each_persons_work_is_done_in_its_order_a_few_at_a_time() -> None:
    tasks, diary = BackgroundTasks(), Diary()
    made = lanes(tasks)
    for number in range(50):
        for person in "abc":
            assert made.add(person, diary.work(f"{person}{number}"))
    await tasks.close(60)
    for person in "abc":
        own = [name for name in diary.done if name[0] == person]
        assert own == [f"{person}{number}" for number in range(50)]
    assert diary.most == 2
    assert len(made) == 0
    assert not made._lanes


async def test_one_persons_hundred_keep_nobody_waiting() -> None:
    tasks, diary = BackgroundTasks(), Diary()
    made = lanes(tasks)
    for number in range(100):
        made.add("a", diary.work(f"a{number}"))
    made.add("b", diary.work("b0"))
    await tasks.close(60)
    assert diary.done.index("b0") < 5


async def test_what_is_too_much_is_left_out() -> None:
    tasks, diary = BackgroundTasks(), Diary()
    made = lanes(tasks, each=3, all_=5)
    assert [made.add("a", diary.work("a")) for _ in range(4)] == [True, True, True, False]
    assert [made.add(p, diary.work(p)) for p in "bcd"] == [True, True, False]
    await tasks.close(60)
    assert made.add("a", diary.work("a"))
    await tasks.close(60)


async def test_a_fault_ends_nobodys_lane() -> None:
    tasks, diary = BackgroundTasks(), Diary()
    made = lanes(tasks, at_once=1)

    async def fail() -> None:
        raise ValueError("a fault")

    made.add("a", fail)
    made.add("a", diary.work("a1"))
    await tasks.close(60)
    assert diary.done == ["a1"]
