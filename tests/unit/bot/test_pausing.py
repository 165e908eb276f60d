"""Draining, and the switch that pauses."""

import asyncio
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot import pausing
from bot.cli import drain as drain_command
from bot.config import Config, StorageSettings
from bot.pausing import DRAIN, Drained, PauseSwitch, drain
from bot.storage_folder import owning
from tests.patience import PATIENCE


class Workers:
    """A pool as far as these look at it."""

    def __init__(self) -> None:
        self.running: list[object] = []
        self.waiting = 2
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


@pytest.fixture
def workers() -> Any:
    return Workers()


async def test_a_drain_waits_for_what_is_drawn_and_delivered(
    tmp_path: Path, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pausing, "LOOK_EVERY", 0.01)
    # of an earlier process
    (tmp_path / DRAIN).touch()
    results = [SimpleNamespace()]
    workers.running = [SimpleNamespace()]
    draining = asyncio.create_task(drain(tmp_path, workers, lambda: len(results)))
    await asyncio.sleep(0.05)
    assert not workers.paused
    (tmp_path / DRAIN).touch()
    for of in (workers.running, results):
        await asyncio.sleep(0.05)
        assert workers.paused
        assert not draining.done()
        of.clear()
    with pytest.raises(Drained):
        await draining
    assert not (tmp_path / DRAIN).exists()


def test_a_pause_outlives_a_restart_and_is_told(tmp_path: Path, workers: Any) -> None:
    switch = PauseSwitch(tmp_path, workers)
    changed: list[bool] = []
    told: list[bool] = []
    switch.listen(lambda: changed.append(switch.paused))
    switch.relay(told.append)
    switch.turn(True)
    assert switch.paused
    again = Workers()
    assert PauseSwitch(tmp_path, again).paused  # type: ignore[arg-type]
    switch.follow(False)
    assert (changed, told) == ([True, False], [True]), "what another process wanted goes no further"
    assert not PauseSwitch(tmp_path, Workers()).paused  # type: ignore[arg-type]


async def test_a_bot_that_has_only_just_started_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the first asking for that of an earlier process."""
    monkeypatch.setattr(drain_command, "LOOK_EVERY", 0.01)
    config = Config(file=tmp_path / "config.toml", storage=StorageSettings(folder=tmp_path))
    file = tmp_path / DRAIN
    async with asyncio.timeout(PATIENCE):
        with owning(config):
            asked = asyncio.create_task(drain_command.drain(config, Namespace(timeout=PATIENCE)))
            for _ in range(2):
                while not file.exists():
                    await asyncio.sleep(0.01)
                file.unlink()
        assert await asked == 0
    assert not file.exists()
