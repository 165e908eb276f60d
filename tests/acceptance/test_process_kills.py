"""Processes of one bot are killed while people ask in all of their servers: nothing is lost,
nothing comes twice, and nobody has more than they may. `python -m benchmarks.process_kills` kills
two hundred times.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.process_kills import QUOTA, WAITING, trial
from tests import postgres
from tests.databases import ON_SERVER, fresh_database


@contextlib.asynccontextmanager
async def a_database(folder: Path) -> AsyncIterator[str]:
    """On the server that is tested, or on one of its own."""
    if ON_SERVER:
        async with fresh_database(folder) as url:
            yield url
        return
    with contextlib.ExitStack() as stack:
        try:
            url = await asyncio.to_thread(stack.enter_context, postgres.running())
        except postgres.PostgresMissingError as missing:
            pytest.skip(str(missing))
        yield url


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_eight_kills_lose_nothing_and_post_nothing_twice(tmp_path: Path) -> None:
    async with a_database(tmp_path) as url:
        found = await trial(
            tmp_path, url, processes=2, hosts=2, kills=8, people=3, every=2.0, seed=7
        )
    outcome = found.outcome
    assert outcome.lost == ()
    assert outcome.twice == ()
    assert found.elsewhere == ()
    assert outcome.accepted >= 5
    assert outcome.delivered + sum(outcome.told.values()) == outcome.accepted
    assert found.most_at_once <= WAITING
    assert found.most_in_a_day <= QUOTA
    assert "process" in outcome.kills
