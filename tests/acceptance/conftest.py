"""The whole bot in this process, but for the models, against a local Discord over loopback."""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from bot.app import Studio, make_client, open_studio
from bot.client import DarkroomClient, point_to
from bot.config import (
    Config,
    DiscordSettings,
    ModelsSettings,
    StorageSettings,
    WildcardsSettings,
    WorkerSettings,
)
from bot.connection import stay_connected
from bot.delivery import audit, failures, message_chores, pings, results
from bot.relay import recover
from generation.engines.fake import FakeEngine
from generation.job import Job
from generation.model_settings import ModelSettings
from generation.rules import Limits
from playground.control import Control
from playground.person import Act, Person
from playground.server import Addresses, Options, serving
from tests.databases import ON_SERVER, fresh_database
from tests.openapi import VARIABLE, OpenApi
from tests.patience import PATIENCE
from tests.playground.conftest import TOKEN

Json = dict[str, Any]
EDIT_EVERY = 0.3
"""Seconds; tests that are about the interval measure it."""


class Rig:
    """The bot: started, stopped and started again on the same storage folder."""

    def __init__(self, config: Config, control: Control) -> None:
        self.config = config
        self.control = control
        self.engine = FakeEngine(step_seconds=0.01)
        self.own_engine = False
        """Whether what draws is what the settings name."""
        self.scan = True
        """Whether the models are known before the bot connects."""
        self.studio: Studio
        self.client: DarkroomClient
        self.connection: asyncio.Task[None]
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """As bot.app.run does, with another engine."""
        self._stack = contextlib.AsyncExitStack()
        engine = None if self.own_engine else self.engine
        opened = open_studio(self.config, engine, scan=self.scan)
        self.studio = await self._stack.enter_async_context(opened)
        await recover(self.studio.store)
        self.client = make_client(self.config, self.studio)
        self.client.services.delivery.edit_every = EDIT_EVERY
        self.client._connection.guild_ready_timeout = 0.05
        self.client.before_identify_hook = _no_pause  # type: ignore[method-assign]
        worker = asyncio.create_task(self.studio.workers.run())
        self._stack.push_async_callback(_end, worker)
        if self.studio.fleet is not None:
            following = asyncio.create_task(self.studio.fleet.run())
            self._stack.push_async_callback(_end, following)
        self.connection = await self._stack.enter_async_context(connected(self.client))

    async def stop(self) -> None:
        """Let everything go at once, whatever is under way."""
        await self._stack.aclose()

    async def restart(self, engine: FakeEngine | None = None) -> None:
        """A new client, worker and engine on the same database."""
        await self.stop()
        self.engine = engine or FakeEngine(step_seconds=0.01)
        await self.start()

    async def job(self, job_id: int) -> Job:
        found = await self.studio.jobs.get(job_id)
        assert found is not None
        return found

    async def until(self, condition: Callable[[Job], bool], job_id: int = 1) -> Job:
        """Wait until a job is so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.studio.jobs.get(job_id)
                if found is not None and condition(found):
                    return found
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def connected(client: DarkroomClient) -> AsyncIterator[asyncio.Task[None]]:
    """The client as `bot.app.run` connects it, ready; its failure is the test's."""
    task = asyncio.create_task(stay_connected(client, TOKEN))
    ready = asyncio.create_task(_ready(client))
    await asyncio.wait([task, ready], return_when="FIRST_COMPLETED", timeout=PATIENCE)
    try:
        if task.done():
            task.result()
        assert ready.done(), "the client did not become ready"
        yield task
    finally:
        ready.cancel()
        await client.close()
        await asyncio.gather(task, ready, return_exceptions=True)


async def _ready(client: DarkroomClient) -> None:
    """Until it is connected and its commands are registered: people use them at once."""
    while not client.is_ready():
        await asyncio.sleep(0.01)
    await client.registered.wait()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _no_pause(*_args: Any, **_options: Any) -> None:
    """Without the usual 5 s between two identifies."""


@pytest.fixture
async def addresses() -> AsyncIterator[Addresses]:
    # how soon the bot answers is benchmarks/latency.py's; a busy machine is no failure
    async with serving(Options(port=0, acknowledge_within=PATIENCE / 3)) as started:
        yield started


@pytest.fixture
async def control(addresses: Addresses, violations: list[str]) -> AsyncIterator[Control]:
    async with Control(addresses.url) as client:
        yield client
        if VARIABLE in os.environ:
            violations += _openapi().violations(await client.requests())
            assert violations == []


@pytest.fixture
def violations() -> list[str]:
    """What the bot sent that Discord's own description of its API does not allow."""
    return []


_documents: list[OpenApi] = []


def _openapi() -> OpenApi:
    if not _documents:
        text = Path(os.environ[VARIABLE]).read_text(encoding="utf-8")
        _documents.append(OpenApi(json.loads(text)))
    return _documents[0]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[str]:
    """A database on the server that is tested; without one the bot makes its file."""
    if not ON_SERVER:
        yield ""
        return
    async with fresh_database(tmp_path) as url:
        yield url


@pytest.fixture
def config(addresses: Addresses, database: str, tmp_path: Path) -> Config:
    return Config(
        file=tmp_path / "config.toml",
        token="a-token",
        discord=DiscordSettings(api=addresses.api, gateway=addresses.gateway, welcome=False),
        storage=StorageSettings(folder=tmp_path / "data", database=database),
        models=ModelsSettings(default="demo", settings={"demo": ModelSettings(steps=4)}),
        # the engine of these tests finds what it is told to
        worker=WorkerSettings(picture_check_model="a-classifier"),
        limits=Limits(waiting=3, upload_mib=1, upload_megapixels=2, side=512),
        wildcards=WildcardsSettings(folder=tmp_path / "wildcards"),
    )


@pytest.fixture
async def rig(
    config: Config, control: Control, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    import discord

    monkeypatch.setattr(discord.http.Route, "BASE", discord.http.Route.BASE)
    gateway = discord.gateway.DiscordWebSocket
    monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)
    for module in (audit, failures, message_chores, pings, results):
        monkeypatch.setattr(module, "RETRIES", (0.05,) * 6)
    point_to(config.discord)
    made = Rig(config, control)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def ada(control: Control) -> Person:
    """Owns the server."""
    return await control.person("ada")


@pytest.fixture
async def bo(control: Control) -> Person:
    """A member without special rights."""
    return await control.person("bo")


@pytest.fixture
async def general(ada: Person) -> str:
    return await ada.channel("general")


def png(colour: str = "red", size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


async def finished(person: Person, channel: str, message: Json) -> Json:
    """The message once it shows pictures, as that person sees it."""

    def shows(update: Json) -> bool:
        names = [file["filename"] for file in update.get("attachments", [])]
        return update["id"] == message["id"] and any("darkroom" in name for name in names)

    if shows(message):
        return message
    await person.wait_for("MESSAGE_UPDATE", shows)
    return await person.message(channel, message["id"])


async def told_to_log(logged: Sequence[Mapping[str, Any]], words: str) -> None:
    """Wait for a line of what `capture_logs` caught whose event has these words."""
    async with asyncio.timeout(PATIENCE):
        while not any(words in line["event"] for line in logged):
            await asyncio.sleep(0.02)


async def made_up_for(rig: Rig) -> None:
    """Wait until the bot has done what its start found undone."""
    delivery = rig.client.services.delivery
    async with asyncio.timeout(PATIENCE):
        while not delivery._recovered or len(delivery):
            await asyncio.sleep(0.02)


async def reacted(rig: Rig, person: Person, message: Json) -> None:
    """Wait until all is done that a person has reacted with so far, and whoever reacted has been
    heard: reactions come in order, and each person's are answered in turn. It leaves a star.
    """
    user_id = int((await person.state())["me"]["id"])
    shown = await rig.studio.jobs.shown_by(int(message["id"]))
    assert shown is not None
    await person.react(message, "⭐")
    async with asyncio.timeout(PATIENCE):
        while not await rig.studio.store.history.is_favourite(user_id, shown[0].id, 0):
            await asyncio.sleep(0.02)


def buttons(message: Json) -> list[str]:
    """The labels of a message's buttons."""
    return [item.get("label", "") for row in message["components"] for item in row["components"]]


MORE = "More…"


async def press(person: Person, message: Json, label: str) -> Act:
    """Press a button of a message, as it is now, or one that stands behind More…"""
    now = await person.message(message["channel_id"], message["id"])
    if label not in buttons(now) and MORE in buttons(now):
        now = await (await person.click(now, MORE)).response()
    return await person.click(now, label)


async def offered(person: Person, message: Json) -> list[str]:
    """The labels of a message's buttons, with those that stand behind More…"""
    shown = [label for label in buttons(message) if label != MORE]
    if len(shown) == len(buttons(message)):
        return shown
    return shown + buttons(await (await person.click(message, MORE)).response())


def with_limits(config: Config, **changes: Any) -> Config:
    replace = msgspec.structs.replace
    return replace(config, limits=replace(config.limits, **changes))
