"""What is left of a request that was deleted while its message was on its way."""

from types import SimpleNamespace
from typing import Any

import pytest

from bot.delivery.failures import RETRIES
from bot.delivery.results import Results
from tests.unit.bot.delivery.test_audit import http_error


class Remains:
    """The message of a job: asked what is left of it, it answers so."""

    channel_id = 7

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def remains(self) -> tuple[int, int] | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: tuple[int, int] | None = answer
        return found


class Chores:
    def __init__(self) -> None:
        self.left: list[int] = []
        self.taken: list[tuple[int, int]] = []

    def left_standing(self, channel_id: int) -> None:
        self.left.append(channel_id)

    def take_back(self, messages: list[tuple[int, int]]) -> None:
        self.taken += messages


async def leave(*answers: Any) -> Chores:
    async def no_pause(_seconds: float) -> None:
        pass

    async def gone(_job_id: int) -> None:
        return None

    chores, nothing, message = Chores(), SimpleNamespace(), Remains(*answers)
    made: Any = [nothing] * 11
    made[1], made[3], made[6] = SimpleNamespace(get=gone), chores, no_pause
    tell: Any = message
    await Results(*made).deliver(1, tell)
    assert message.answers == []
    return chores


async def test_that_it_can_not_be_looked_for_is_told() -> None:
    assert (await leave(http_error(403, 50001))).left == [7]


@pytest.mark.parametrize("found", [None, (7, 70)])
async def test_it_is_looked_for_however_long_discord_does_not_answer(
    found: tuple[int, int] | None,
) -> None:
    chores = await leave(*[http_error(503)] * 3 * len(RETRIES), found)
    assert chores.taken == ([] if found is None else [found])
    assert chores.left == []
