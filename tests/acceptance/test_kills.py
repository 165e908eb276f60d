"""Hosts, the NATS server and the bot are killed while people ask: nothing is lost, nothing comes
twice. `python -m benchmarks.kills` kills two hundred times.
"""

from pathlib import Path

import pytest

from benchmarks.kills import trial


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_kills_lose_nothing_and_post_nothing_twice(tmp_path: Path) -> None:
    outcome = await trial(tmp_path, hosts=2, kills=10, people=3, every=2.0, seed=7)
    assert outcome.lost == ()
    assert outcome.twice == ()
    assert outcome.accepted >= 5
    assert outcome.delivered + sum(outcome.told.values()) == outcome.accepted
    assert {"bot", "nats", "host"} <= outcome.kills.keys()
