"""The host process itself, with the demo model: it imports no torch, and draws what the machine of
the bot would draw.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from tests.fixtures.host_process import FilesCatalog
from tests.integration.nats.conftest import Stage

PROJECT = Path(__file__).parents[3]
DEMO = PROJECT / "models"


@pytest.fixture
def started(stage: Stage, tmp_path: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def start(command: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, *command], cwd=PROJECT, env=os.environ)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["runtime", "worker"])
async def test_it_draws_to_the_last_bit_what_is_drawn_here(
    stage: Stage, tmp_path: Path, started: list["subprocess.Popen[bytes]"], way: str
) -> None:
    cache = tmp_path / "cache"
    command: tuple[str, ...]
    if way == "runtime":
        files = ("--models", str(DEMO), "--cache", str(cache), "--device", "cpu")
        command = ("-m", "generation.runtime", "--nats", stage.server.url, "--name", "attic")
        command = (*command, *files)
    else:
        config = tmp_path / "host.toml"
        config.write_text('[worker]\ndevice = "cpu"\n[storage]\nfolder = "data"\n')
        command = ("-m", "bot", "worker", "--nats", stage.server.url, "--name", "attic")
        command = (*command, "--config", str(config))
    await stage.bot(FilesCatalog(tmp_path / "own"))
    started.append(start(command))
    await stage.there("attic")
    host = psutil.Process(started[0].pid)
    mapped = " ".join(part.path for part in host.memory_maps())
    assert "torch" not in mapped
    assert len(host.children()) == 1
    job = await stage.finished(await stage.ask("demo", width=64, height=64))
    [drawn] = job.pictures
    # the same here
    engine = ProcessEngine(RuntimeSettings(device="cpu"), cache=tmp_path / "local")
    own = Catalog((DEMO,))
    await own.scan()
    await stage.workers.remove("attic")
    stage.workers.add("here", engine, catalog=own)
    job = await stage.finished(await stage.ask("demo", width=64, height=64))
    assert job.provenance is not None
    assert job.provenance.worker == "here"
    assert job.pictures[0].pixels_sha256 == drawn.pixels_sha256
    await engine.stop()


@pytest.mark.slow
async def test_a_name_that_another_has_is_refused(stage: Stage, tmp_path: Path) -> None:
    await stage.bot()
    stage.process("attic")
    await stage.there("attic")
    second = stage.process("attic", folder="second")
    await stage.until(lambda: second.ended)
    assert "Another worker is called attic already" in second.said
    assert {worker.name for worker in stage.workers.workers} == {"attic"}
