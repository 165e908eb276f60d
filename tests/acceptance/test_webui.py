"""Members whose pictures an A1111 webui draws that runs beside the bot: a written-down one."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from bot.config import Config, WorkerSettings
from generation.info import file_hashes
from generation.job import JobState
from generation.webui import drawing as webui_drawing
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png
from tests.acceptance.test_comfyui import ask, says
from tests.acceptance.test_servers import say
from tests.fixtures import headers
from tests.fixtures.webui import RecordedWebui, running
from tests.patience import PATIENCE


@pytest.fixture
async def webui(tmp_path: Path) -> AsyncIterator[RecordedWebui]:
    async with running(checkpoint=[f"{tmp_path}/checkpoints/dream.safetensors"]) as found:
        found.auth = "darkroom:secret"
        yield found


@pytest.fixture
def config(
    config: Config, webui: RecordedWebui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Config:
    monkeypatch.setattr(webui_drawing, "LOOK_EVERY", 0.05)
    # of a file of two gigabytes, all of them a hole
    monkeypatch.setattr(file_hashes, "_hash", lambda _path, **_: "5e" * 32)
    known = {header.name: header for header in headers.read()}
    known["sd1"].write(tmp_path / "checkpoints" / "dream.safetensors")
    models = msgspec.structs.replace(
        config.models, folders=(tmp_path / "checkpoints",), default="dream"
    )
    worker = WorkerSettings(engine="webui", address=webui.address)
    return msgspec.structs.replace(config, models=models, worker=worker, webui_auth=webui.auth)


@pytest.fixture
async def drawing(rig: Rig) -> Rig:
    """The bot with the engine that its settings name."""
    await rig.stop()
    rig.own_engine = True
    await rig.start()
    await rig.studio.workers.workers[0].engine.start()
    return rig


async def test_members_draw_cancel_and_are_refused_what_it_is_not_told(
    drawing: Rig, ada: Person, bo: Person, general: str, webui: RecordedWebui
) -> None:
    upload = await bo.upload("cat.png", png(size=(200, 200)))
    words = "a (fox:1.2) AND a hare --variation_seed 4 --variation_strength 0.2"
    message = await ask(bo, general, prompt=words, init_picture=upload, count=2, seed=7)
    shown = await finished(bo, general, message)
    assert len(shown["attachments"]) == 2
    job = await drawing.job(1)
    assert job.request.conventions == "a1111"
    assert webui.asked[0][1]["prompt"] == "a (fox:1.2) AND a hare"
    assert job.provenance is not None
    assert job.provenance.versions["webui"] == "v1.10.1"
    assert job.provenance.hashes["checkpoint:dream"] == "5e" * 32
    await bo.command(general, "replay", job=1)
    second = await drawing.until(lambda one: one.ended, 2)
    assert [one.pixels_sha256 for one in second.pictures] == [
        one.pixels_sha256 for one in job.pictures
    ]
    small = "--width 128 --height 128"
    for options, said in (
        ({"prompt": f"a fox {small} --hires 2 --hires_tile 64"}, "can't be told of hires_tile"),
        ({"sampler": "TCD"}, "has no sampler TCD"),
        ({"model": "demo"}, "loads single files: demo is a folder"),
        ({"prompt": "a fox --conventions comfyui"}, "--conventions a1111"),
    ):
        await ada.command(general, "imagine", **{"prompt": "a fox", **options})
        answer = await ada.wait_for("MESSAGE_CREATE", partial(says, said))
        assert answer["flags"] & 64
    webui.gate = asyncio.Event()
    await ask(bo, general)
    await drawing.until(lambda one: one.attempts > 0, 3)
    await say(bo, general, "cancel", job=3)
    assert (await drawing.until(lambda one: one.ended, 3)).state is JobState.CANCELLED
    async with asyncio.timeout(PATIENCE):
        while not webui.interrupted:
            await asyncio.sleep(0.02)


async def test_what_it_had_in_hand_when_it_was_closed_is_drawn_when_it_is_back(
    drawing: Rig, bo: Person, general: str, webui: RecordedWebui
) -> None:
    webui.gate = asyncio.Event()
    message = await ask(bo, general)
    await drawing.until(lambda one: one.attempts > 0)
    port = webui.port
    await webui.end()
    await drawing.until(lambda one: one.state is JobState.QUEUED)
    webui.gate = None
    await webui.start(port)
    await finished(bo, general, message)
