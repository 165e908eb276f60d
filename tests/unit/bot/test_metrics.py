"""The board for Grafana shows figures that there are."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.metrics import Metrics

BOARD = Path(__file__).parents[3] / "docs" / "grafana.json"


class Workers:
    """A pool as far as the figures look at it."""

    waiting = 0
    running = ()
    paused = False
    workers = (SimpleNamespace(name="main", ready=None, current=None),)

    def listen(self, listener: object) -> None:
        """Nothing happens."""


class Client:
    """A client as far as the figures look at it."""

    latencies = ((0, float("nan")), (1, 0.04))
    online_shards = frozenset((1,))
    guilds = ()


@pytest.fixture
def names() -> set[str]:
    """The names of all samples, those of histograms with their ends."""
    workers: Any = Workers()
    metrics = Metrics(workers)
    metrics.observe_client(Client())
    found: set[str] = set()
    for family in metrics.registry.collect():
        found.add(family.name)
        if family.type == "counter":
            found.add(f"{family.name}_total")
        if family.type == "histogram":
            found |= {f"{family.name}{end}" for end in ("_bucket", "_sum", "_count")}
    return found


def test_the_board_names_no_others(names: set[str]) -> None:
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"darkroom_\w+", target["expr"])
    }
    assert asked
    assert asked - names == set()


def test_the_board_shows_all(names: set[str]) -> None:
    text = BOARD.read_text(encoding="utf-8")
    families = {
        name for name in names if not name.endswith(("_total", "_bucket", "_sum", "_count"))
    }
    assert {name for name in families if name not in text} == set()


def test_a_latency_that_is_not_known_is_no_figure() -> None:
    workers: Any = Workers()
    metrics = Metrics(workers)
    metrics.observe_client(Client())
    of_shards = metrics.registry.get_sample_value
    assert of_shards("darkroom_discord_latency_seconds", {"shard": "0"}) is None
    assert of_shards("darkroom_discord_latency_seconds", {"shard": "1"}) == 0.04
    assert of_shards("darkroom_discord_online", {"shard": "0"}) == 0
