"""A bot whose models take long to be read for the first time."""

import asyncio
import threading

import pytest

from bot import client as client_module
from bot.requests import service
from generation import catalog as catalog_module
from generation.model_folders import Candidate
from generation.model_reader import ModelReader, Reading
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused


@pytest.fixture
async def go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Restarts the bot with nothing known; its scan holds before the demo until this is set."""
    go = threading.Event()
    read = ModelReader.read

    def held(reader: ModelReader, found: Candidate) -> Reading:
        if found.path.name == "demo":
            assert go.wait(60)
        return read(reader, found)

    monkeypatch.setattr(ModelReader, "read", held)
    for module, name in (
        (client_module, "MODELS_SECONDS"),
        (service, "MODELS_SECONDS"),
        (catalog_module, "SHOWN_FIRST"),
        (catalog_module, "SHOWN_AGAIN"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    (rig.config.storage.folder / "cache" / "models.msgpack").unlink()
    rig.scan = False
    await rig.restart()
    return go


def completes_prompts(state: dict[str, object]) -> bool:
    commands: list[dict[str, object]] = state["commands"]  # type: ignore[assignment]
    command = next(command for command in commands if command["name"] == "imagine")
    options: list[dict[str, object]] = command["options"]  # type: ignore[assignment]
    prompt = next(option for option in options if option["name"] == "prompt")
    return bool(prompt.get("autocomplete"))


async def test_it_connects_says_so_and_draws_once_they_are_known(
    rig: Rig, go: threading.Event, ada: Person, general: str
) -> None:
    scan = asyncio.create_task(rig.studio.catalog.scan())
    while not rig.studio.catalog.controlnets:
        await asyncio.sleep(0.01)
    assert not completes_prompts(await ada.state())
    assert "still being read" in await refused(ada, general)
    assert "still being read" in await refused(ada, general, model="demo")
    assert await rig.studio.jobs.get(1) is None
    offered = await ada.autocomplete(general, "imagine", "controlnet", "dem", prompt="a")
    assert "demo-edges" in str(offered)
    go.set()
    await scan
    message = await imagine(ada, general)
    assert message["attachments"]
    while not completes_prompts(await ada.state()):
        await asyncio.sleep(0.05)


async def test_it_stops_while_they_are_read(rig: Rig, go: threading.Event) -> None:
    scan = asyncio.create_task(rig.studio.catalog.scan())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        await rig.stop()
    scan.cancel()
    go.set()
    await asyncio.gather(scan, return_exceptions=True)
    await rig.start()
