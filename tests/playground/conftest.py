"""A local Discord in this process, an unmodified discord.py client, and the people."""

from __future__ import annotations

import asyncio
import io
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import yarl

from tests.patience import PATIENCE

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 no longer has
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord

from discord.gateway import DiscordWebSocket

from playground.control import Control, Person
from playground.server import Addresses, Options, serving

from .bot import SampleBot

TOKEN = "a-token"


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> int:
        return int(self.body["code"])


class Rest:
    """The bot's side of REST without a library: for what a library would refuse to send."""

    def __init__(self, addresses: Addresses, session: aiohttp.ClientSession) -> None:
        self.addresses = addresses
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        files: list[tuple[str, bytes]] | None = None,
        token: str = TOKEN,
        **query: str,
    ) -> Answer:
        sent: dict[str, Any] = {}
        if files is not None:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("payload_json", json.dumps(body), content_type="application/json")
            for index, (name, content) in enumerate(files):
                form.add_field(f"files[{index}]", io.BytesIO(content), filename=name)
            sent["data"] = form
        elif body is not None:
            sent["json"] = body
        url = yarl.URL(f"{self.addresses.api}/v10{path}", encoded=True)
        headers = {"Authorization": f"Bot {token}"}
        async with self._session.request(
            method, url.update_query(query), headers=headers, **sent
        ) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(text) if is_json else text, response.headers)


def point_discord_py_to(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", f"{addresses.api}/v10")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(addresses.gateway))


@asynccontextmanager
async def running(bot: discord.Client, token: str = TOKEN) -> AsyncIterator[None]:
    """The client logged in, connected and ready; its failure is the test's."""
    task = asyncio.create_task(bot.start(token))
    ready = asyncio.create_task(_ready(bot))
    await asyncio.wait([task, ready], return_when="FIRST_COMPLETED", timeout=PATIENCE)
    try:
        if task.done():
            task.result()
        assert ready.done(), "the client did not become ready"
        yield
    finally:
        ready.cancel()
        await bot.close()
        await asyncio.gather(task, ready, return_exceptions=True)


async def _ready(bot: discord.Client) -> None:
    while not bot.is_ready():
        await asyncio.sleep(0.01)


@pytest.fixture
def options() -> Options:
    """How the local Discord is started; a test module may give its own."""
    return Options(port=0)


@pytest.fixture
async def addresses(options: Options, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Addresses]:
    async with serving(options) as started:
        point_discord_py_to(started, monkeypatch)
        yield started


@pytest.fixture
async def control(addresses: Addresses) -> AsyncIterator[Control]:
    async with Control(addresses.url) as client:
        yield client


@pytest.fixture
async def ada(control: Control) -> Person:
    """Owns the server."""
    return await control.person("ada")


@pytest.fixture
async def bo(control: Control) -> Person:
    return await control.person("bo")


@pytest.fixture
async def rest(addresses: Addresses) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(addresses, session)


@pytest.fixture
async def bot(control: Control) -> AsyncIterator[SampleBot]:
    client = SampleBot()
    async with running(client):
        yield client


@pytest.fixture
async def general(ada: Person) -> str:
    return await ada.channel("general")


@pytest.fixture
async def guild(ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])
