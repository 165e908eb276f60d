"""Edits from the command to the pictures, drawn by tiny models of an editing family and pix2pix."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import discord
import msgspec
import pytest
from PIL import Image

from bot.client import point_to
from bot.config import Config
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, png
from tests.fixtures import flux, models, sdxl

pytestmark = pytest.mark.slow
DRAWN_WITHIN = 240.0
"""Seconds; the first picture waits for torch, too."""


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a Kontext and an InstructPix2Pix of random weights."""
    folder = tmp_path / "models" / "diffusers"
    flux.tiny_flux(folder / "tiny-kontext-dev")
    base = models.tiny_stable_diffusion(tmp_path / "base")
    sdxl.with_unet_channels(base, folder / "tiny-pix2pix", channels=8)
    replace = msgspec.structs.replace
    return replace(
        config,
        models=replace(config.models, folders=(tmp_path / "models",)),
        limits=replace(config.limits, pixels=128 * 128),
        worker=replace(config.worker, picture_check_model=""),
    )


@pytest.fixture
async def rig(
    config: Config, control: Control, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    """With a child process that draws."""
    monkeypatch.setattr(discord.http.Route, "BASE", discord.http.Route.BASE)
    gateway = discord.gateway.DiscordWebSocket
    monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)
    point_to(config.discord)
    made = Rig(config, control)
    settings = RuntimeSettings(device="cpu", preview_every=0, cpu_threads=1)
    engine = ProcessEngine(settings, cache=config.storage.folder / "cache")
    made.engine = engine  # type: ignore[assignment]
    await made.start()
    yield made
    await made.stop()
    await engine.stop()


async def drawn(rig: Rig, person: Person, channel: str, number: int, sent: Json) -> Json:
    """The message of that job once it is delivered."""
    async with asyncio.timeout(DRAWN_WITHIN):
        # it is written down once its pictures are fetched
        while (job := await rig.studio.jobs.get(number)) is None or job.delivered_at is None:
            await asyncio.sleep(0.1)
    return await person.message(channel, sent["id"])


def digest(picture: Image.Image) -> str:
    return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("model", "scale"), [("tiny-kontext-dev", ""), ("tiny-pix2pix", " --image-guidance 2.5")]
)
async def test_an_edit_is_drawn_of_its_picture_and_again_to_the_last_bit(
    rig: Rig, ada: Person, general: str, model: str, scale: str
) -> None:
    results = []
    for number, colour in ((1, "red"), (2, "blue")):
        picture = await ada.upload("cat.png", png(colour, (128, 96)))
        prompt = f"make it night --steps 2 --seed 5{scale}"
        act = await ada.command(general, "edit", prompt=prompt, picture=picture, model=model)
        shown = await drawn(rig, ada, general, number, await act.deferred())
        before, after = shown["attachments"]
        assert before["filename"] == f"darkroom-{number}-before.webp"
        _, content = await rig.control.get(after["url"])
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.width > opened.height
            text = str(opened.info["parameters"])
            assert ("Image CFG scale: 2.5" in text) is bool(scale)
            results.append(digest(opened))
    # by what it is shown, and by nothing else
    assert results[0] != results[1]
    act = await ada.command(general, "replay", job=1)
    again = await drawn(rig, ada, general, 3, await act.deferred())
    assert "The same as #1" in again["content"]
