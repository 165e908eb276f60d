"""Members whose pictures a ComfyUI draws that runs beside the bot: a recorded one."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from bot import app
from bot.config import Config, WorkerSettings
from generation.engines import EngineError, program
from generation.engines.fake import FakeEngine
from generation.engines.helper import Helper
from generation.info import file_hashes
from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, png
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_servers import say
from tests.fixtures import headers
from tests.fixtures.comfyui import RecordedComfyUI, running
from tests.patience import PATIENCE


@pytest.fixture
async def comfyui() -> AsyncIterator[RecordedComfyUI]:
    async with running(
        CheckpointLoaderSimple=["dream.safetensors"], UpscaleModelLoader=["demo-x4.safetensors"]
    ) as found:
        yield found


@pytest.fixture
def config(
    config: Config, comfyui: RecordedComfyUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Config:
    # of a file of two gigabytes, all of them a hole
    monkeypatch.setattr(file_hashes, "_hash", lambda _path, **_: "5e" * 32)
    known = {header.name: header for header in headers.read()}
    known["sd1"].write(tmp_path / "checkpoints" / "dream.safetensors")
    models = msgspec.structs.replace(
        config.models, folders=(tmp_path / "checkpoints",), default="dream"
    )
    worker = WorkerSettings(
        engine="comfyui", address=comfyui.address, picture_check_model="a-classifier"
    )
    return msgspec.structs.replace(config, models=models, worker=worker)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """What checks pictures."""
    found = FakeEngine(unsafe=(0.1, 0.9))
    monkeypatch.setattr(app, "make_helper", lambda config: Helper(found, config.worker.runtime()))
    return found


@pytest.fixture
async def drawing(rig: Rig, looks: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The bot with the engine that its settings name."""
    assert looks is not None
    monkeypatch.setattr(program, "AWAY_EVERY", 0.05)
    await rig.stop()
    rig.own_engine = True
    await rig.start()
    await rig.studio.workers.workers[0].engine.start()
    return rig


async def ask(person: Person, channel: str, **options: object) -> Json:
    act = await person.command(channel, "imagine", **{"prompt": "a fox", "steps": 4, **options})
    return await act.deferred()


def says(text: str, message: Json) -> bool:
    return text in message["content"]


async def test_members_draw_cancel_and_are_refused_what_it_is_not_told(
    drawing: Rig, ada: Person, bo: Person, general: str, comfyui: RecordedComfyUI
) -> None:
    upload = await bo.upload("cat.png", png(size=(200, 200)))
    message = await ask(bo, general, init_picture=upload, count=2, seed=7)
    shown = await finished(bo, general, message)
    assert len(shown["attachments"]) == 2
    job = await drawing.job(1)
    assert job.request.conventions == "comfyui", "the only way that there is"
    assert job.provenance is not None
    assert job.provenance.versions["comfyui"] == "0.3.64"
    assert job.provenance.hashes["checkpoint:dream"] == "5e" * 32
    await bo.command(general, "replay", job=1)
    second = await drawing.until(lambda one: one.ended, 2)
    assert [one.pixels_sha256 for one in second.pictures] == [
        one.pixels_sha256 for one in job.pictures
    ]
    for options, said in (
        ({"prompt": "a fox --variation_seed 3 --variation_strength 0.5"}, "variation_seed"),
        (
            {"prompt": "a fox --width 128 --height 128 --hires 2 --hires_tile 64"},
            "not in tiles of 64 pixels",
        ),
        ({"prompt": "a fox AND a hare"}, "takes AND in the prompt for mere words"),
        ({"sampler": "Restart"}, "has no sampler Restart"),
        ({"model": "demo"}, "loads single files: demo is a folder"),
        ({"prompt": "a fox --conventions a1111"}, "--conventions comfyui"),
    ):
        await ada.command(general, "imagine", **{"prompt": "a fox", **options})
        answer = await ada.wait_for("MESSAGE_CREATE", partial(says, said))
        assert answer["flags"] & 64
    comfyui.gate = asyncio.Event()
    await ask(bo, general)
    await drawing.until(lambda one: one.attempts > 0, 3)
    await say(bo, general, "cancel", job=3)
    assert (await drawing.until(lambda one: one.ended, 3)).state is JobState.CANCELLED
    async with asyncio.timeout(PATIENCE):
        while not comfyui.interrupted:
            await asyncio.sleep(0.02)


async def test_what_it_had_in_hand_when_it_was_closed_is_drawn_when_it_is_back(
    drawing: Rig, bo: Person, general: str, comfyui: RecordedComfyUI
) -> None:
    comfyui.gate = asyncio.Event()
    message = await ask(bo, general)
    await drawing.until(lambda one: one.attempts > 0)
    port = comfyui.port
    await comfyui.end()
    await drawing.until(lambda one: one.state is JobState.QUEUED)
    comfyui.gate = None
    await comfyui.start(port)
    await finished(bo, general, message)


async def test_its_pictures_are_checked_before_anybody_sees_them(
    drawing: Rig, bo: Person, general: str, guild: str, looks: FakeEngine
) -> None:
    await drawing.studio.store.settings.change_guild(int(guild), picture_check="block")
    looks.unsafe = (0.9,)
    message = await ask(bo, general)
    job = await drawing.until(lambda one: one.delivered_at is not None, 1)
    assert [one.unsafe for one in job.pictures] == [0.9]
    assert (await bo.message(general, message["id"]))["attachments"] == []
    looks.unsafe = (0.1,)
    shown = await finished(bo, general, await ask(bo, general))
    assert len(shown["attachments"]) == 1
    looks.failures = ["picture_check_broken"]
    await ask(bo, general)
    job = await drawing.until(lambda one: one.ended, 3)
    assert job.failure is not None
    assert job.failure.code == "picture_check_broken"
    assert not job.pictures


async def says_in_the_end(person: Person, channel: str, message: Json, words: str) -> str:
    async with asyncio.timeout(PATIENCE):
        while True:
            said: str = (await person.message(channel, message["id"]))["content"]
            if words in said:
                return said
            await asyncio.sleep(0.05)


async def test_who_waits_while_it_is_away_is_told_so_until_it_is_back(
    drawing: Rig, bo: Person, general: str, comfyui: RecordedComfyUI
) -> None:
    drawing.client.services.delivery.grids.redrawn_every = 0.1
    away, listed = "Waiting for ComfyUI", "waits for ComfyUI"
    port = comfyui.port
    await comfyui.end()
    engine = drawing.studio.workers.workers[0].engine
    with pytest.raises(EngineError):
        await engine.start()
    message = await ask(bo, general)
    said = await says_in_the_end(bo, general, message, away)
    assert len(said.splitlines()) == 1
    embed = (await say(bo, general, "queue"))["embeds"][0]
    assert listed in embed["description"]
    proposal = await say(bo, general, "grid", prompt="a fox", x="steps", x_values="2, 3")
    grid = await (await bo.click(proposal, "Draw it")).deferred()
    await says_in_the_end(bo, general, grid, away)
    await comfyui.start(port)
    await finished(bo, general, message)
    async with asyncio.timeout(PATIENCE):
        while away in (now := await bo.message(general, grid["id"]))["content"]:
            await asyncio.sleep(0.05)
        while not now["attachments"]:
            now = await bo.message(general, grid["id"])
            assert away not in now["content"]
            await asyncio.sleep(0.05)
    embed = (await say(bo, general, "queue"))["embeds"][0]
    assert listed not in embed["description"]


async def test_members_get_hires_passes_masks_and_larger_pictures_of_it(
    drawing: Rig, bo: Person, general: str, comfyui: RecordedComfyUI, looks: FakeEngine
) -> None:
    message = await ask(bo, general, prompt="a fox --width 128 --height 128 --hires 1.5")
    shown = await finished(bo, general, message)
    job = await drawing.job(1)
    assert (job.pictures[0].width, job.pictures[0].height) == (192, 192)
    assert [node["class_type"] for node in comfyui.graphs[0].values()].count("KSampler") == 2
    await bo.react(shown, "🔍")
    larger = await drawing.until(lambda one: one.ended, 2)
    assert larger.state is JobState.FINISHED, larger.failure
    assert larger.pictures[0].width == 768
    assert "ImageUpscaleWithModel" in str(comfyui.graphs[1])
    assert larger.provenance is not None
    assert "upscaler:demo-x4" in larger.provenance.hashes
    await bo.command(general, "upscale", job=1, upscaler="Lanczos")
    plainly = await drawing.until(lambda one: one.ended, 3)
    assert plainly.state is JobState.FINISHED, plainly.failure
    assert "3" in looks.began, "without a network a process of ours enlarges"
    upload = await bo.upload("cat.png", png(size=(128, 128)))
    mask = await bo.upload("mask.png", png("white", (128, 128)))
    message = await ask(
        bo, general, prompt="a hat --width 128 --height 128", init_picture=upload, mask=mask
    )
    job = await drawing.until(lambda one: one.ended, 4)
    assert job.state is JobState.FINISHED, job.failure
    names = [node["class_type"] for node in comfyui.graphs[-1].values()]
    assert "SetLatentNoiseMask" in names
    await bo.command(general, "replay", job=4)
    again = await drawing.until(lambda one: one.ended, 5)
    first = await drawing.job(4)
    assert [one.pixels_sha256 for one in again.pictures] == [
        one.pixels_sha256 for one in first.pictures
    ]
