"""Processes of one bot are killed while people ask in all of their servers: nothing is lost,
nothing comes twice, and nobody has more than they may. `python -m benchmarks.process_kills` kills
two hundred times.
"""

from pathlib import Path

import pytest

from benchmarks.process_kills import QUOTA, WAITING, trial
from tests.databases import ON_SERVER, fresh_database


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not ON_SERVER, reason="about a database server")
async def test_eight_kills_lose_nothing_and_post_nothing_twice(tmp_path: Path) -> None:
    async with fresh_database(tmp_path) as url:
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
