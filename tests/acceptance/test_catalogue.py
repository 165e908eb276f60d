"""`/models`, `/loras` and `/stats`."""

import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, png
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_servers import say
from tests.fixtures.pictures import with_scans
from tests.unit.generation.test_catalog import kohya, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine LoRAs; beside the first lies a picture, beside the next two what can't be read."""
    folder = tmp_path / "models" / "loras"
    for number in range(1, 10):
        phrase: dict[str, Any] = {"modelspec.trigger_phrase": f"in the style of {number}"}
        write(folder / f"art-{number}.safetensors", kohya(768), **phrase)
    (folder / "art-1.preview.png").write_bytes(png("blue", (640, 480)))
    (folder / "art-2.png").write_bytes(b"this is no picture")
    (folder / "art-3.preview.png").write_bytes(with_scans(64, 64, 3000))
    return folder


@pytest.fixture
def config(config: Config, folder: Path) -> Config:
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(folder.parent,)))


DEMO = ("demo-pencil-sketch", "demo-pixel-art")
"""The LoRAs that the project ships."""


def names(message: Json) -> list[str]:
    return [embed["title"] for embed in message["embeds"]]


async def test_loras_with_their_words_and_pictures_page_by_page(
    rig: Rig, bo: Person, general: str
) -> None:
    message = await say(bo, general, "loras")
    assert names(message) == [f"art-{number}" for number in range(1, 9)]
    first, second, third = message["embeds"][:3]
    assert first["author"]["name"] == "LoRAs · page 1 of 2"
    assert "Trigger words: `in the style of 1`" in first["description"]
    status, content = await rig.control.get(first["thumbnail"]["url"])
    assert (status, content[8:12]) == (200, b"WEBP")
    assert len(content) < 100 * 1024
    assert ("thumbnail" in second, "thumbnail" in third) == (False, False)
    await rig.restart()
    act = await bo.click(message, "Next")
    await act.wait_for("INTERACTION_SUCCESS")
    await bo.wait_for(
        "MESSAGE_UPDATE", lambda m: m["id"] == message["id"] and names(m) == ["art-9", *DEMO]
    )
    last = await bo.message(general, message["id"])
    assert last["attachments"] == []


async def test_models_with_family_and_native_size(rig: Rig, bo: Person, general: str) -> None:
    message = await say(bo, general, "models")
    assert names(message) == ["demo"]
    assert "128 px" in message["embeds"][0]["description"]
    assert message["components"] == []


async def test_the_owner_alone_sees_how_the_bot_does(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(bo, general)
    message = await say(ada, general, "stats")
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert fields["Last 24 hours"] == "1 finished, 0 failed, 0 cancelled"
    assert fields["Seconds a picture"].startswith("demo: median ")
    assert fields["Queue"] == "0 requests wait"
    refused = await say(bo, general, "stats")
    assert refused["content"] == "That is for the bot's owner alone."
    assert refused["embeds"] == []


async def test_the_day_goes_by_discords_clock(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(bo, general)
    await rig.control.clock(48 * 3600)
    message = await say(ada, general, "stats")
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert fields["Last 24 hours"] == "0 finished, 0 failed, 0 cancelled"
    (epoch,) = re.findall(r"<t:(\d+):R>", str(message["embeds"]))
    assert int(epoch) > time.time() + 47 * 3600
