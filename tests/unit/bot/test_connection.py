"""The bot may be up before the network is."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import discord
import pytest
from aiohttp import web

from bot import connection
from bot.clock import DiscordClock
from bot.connection import RefusedError, stay_connected
from tests.patience import PATIENCE


class Client:
    """Notes when it is logged in, and is closed by then."""

    def __init__(self) -> None:
        self.clock = DiscordClock()
        self.services = SimpleNamespace(clock=self.clock)
        self.online = False
        self.logged_in = asyncio.Event()

    async def login(self, token: str) -> None:
        self.logged_in.set()

    def is_closed(self) -> bool:
        return True


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = int(free.getsockname()[1])
    monkeypatch.setattr(connection, "WAITS", (0.05,))
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{found}/api/v10")
    return found


async def test_it_waits_until_discord_can_be_reached(port: int) -> None:
    answers = [
        web.Response(status=503),
        web.Response(status=429, text="<html>slow down</html>", headers={"Retry-After": "0.2"}),
        web.Response(status=502),
        web.Response(headers={"Date": "Sun, 06 Nov 2033 08:49:37 GMT"}),
    ]
    asked: list[float] = []

    async def gateway(_request: web.Request) -> web.Response:
        asked.append(asyncio.get_running_loop().time())
        return answers[len(asked) - 1]

    client = Client()
    connecting = asyncio.create_task(stay_connected(client, "a-token"))  # type: ignore[arg-type]
    await asyncio.sleep(0.3)
    assert not client.logged_in.is_set()
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
    assert client.logged_in.is_set()
    assert len(asked) == 4
    assert asked[2] - asked[1] >= 0.19, "it came before it was told to"
    # the time is Discord's, not the machine's
    assert abs(client.clock.now() - datetime(2033, 11, 6, 8, 49, 37, tzinfo=UTC)) < timedelta(
        minutes=1
    )


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014, 4099])
async def test_each_refusal_of_the_gateway_is_one_sentence(
    port: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Client):
        def is_closed(self) -> bool:
            return False

        async def connect(self) -> None:
            if code == 4014:
                raise discord.PrivilegedIntentsRequired(None)
            closed = SimpleNamespace(close_code=code)
            raise discord.ConnectionClosed(closed, shard_id=None)  # type: ignore[arg-type]

    async def there(_client: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(connection, "_unreachable", there)
    with pytest.raises(RefusedError) as refused:
        await stay_connected(Refused(), "a-token")  # type: ignore[arg-type]
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert code == 4099 or "4099" not in sentence


def test_the_clock_goes_by_the_latest_time_that_was_told() -> None:
    clock = DiscordClock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    ahead = datetime.now(UTC) + timedelta(hours=5)
    clock.observe(ahead)
    # told late: an event from before an outage
    clock.observe(ahead - timedelta(minutes=3))
    assert timedelta(0) <= clock.now() - ahead < timedelta(minutes=1)
