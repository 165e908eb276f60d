"""The bot may be up before the network is."""

import asyncio
import socket

import discord
import pytest
from aiohttp import web

from bot import app
from tests.patience import PATIENCE


class Client:
    """Notes when it is started."""

    def __init__(self) -> None:
        self.started = asyncio.Event()

    async def start(self, token: str) -> None:
        self.started.set()


async def test_it_waits_until_discord_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(app, "CONNECT_WAITS", (0.05,))
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
    statuses = [503, 200]
    asked: list[int] = []

    async def gateway(_request: web.Request) -> web.Response:
        asked.append(statuses[len(asked)])
        return web.Response(status=asked[-1])

    client = Client()
    connecting = asyncio.create_task(app._connect(client, "a-token"))  # type: ignore[arg-type]
    await asyncio.sleep(0.3)
    assert not client.started.is_set()
    server = web.Application()
    server.router.add_get("/api/v10/gateway", gateway)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with asyncio.timeout(PATIENCE):
            await connecting
    finally:
        await runner.cleanup()
    assert client.started.is_set()
    assert asked == [503, 200]
