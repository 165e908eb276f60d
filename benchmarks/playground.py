"""How large a burst the local Discord passes on, so that a bot under test is the bottleneck.

    python -m benchmarks.playground [--repeat 3]

The local Discord runs in its own process; a bare gateway client and bare requests stand for the
bot. Timed is what a burst takes until the client has every event, and every answer is in Discord.
Requests that do nothing are the baseline. The processor time is that of
the local Discord alone, so that it says the same on a busy machine.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil

from playground.control import Control
from playground.process import local_discord
from playground.server import Addresses

Json = dict[str, Any]
REACTIONS = 1000
INTERACTIONS = 100
IDLE = 1000
"""Requests that do nothing."""
PER_SECOND = 1000
"""Reactions that a second must bear."""
ACKNOWLEDGED_MS = 100.0
"""For all the interactions of one instant, of the 3 s in which a bot has to answer."""
COMMAND = {"name": "go", "description": "x"}
EVENTS = (1 << 0) | (1 << 9) | (1 << 10)
"""Intents: servers, messages, reactions."""


class BareBot:
    """Counts gateway events by name and answers nothing by itself."""

    def __init__(self, at: Addresses, session: aiohttp.ClientSession) -> None:
        self.at = at
        self.session = session
        self.seen: dict[str, list[Json]] = {}
        self._changed = asyncio.Condition()

    async def connect(self) -> None:
        socket = await self.session.ws_connect(f"{self.at.gateway}?v=10&encoding=json")
        await socket.receive_json()
        identify = {"token": "t", "intents": EVENTS, "properties": {}}
        await socket.send_json({"op": 2, "d": identify})
        self._reader = asyncio.create_task(self._read(socket))
        await self.wait("READY", 1)

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            event = json.loads(message.data)
            async with self._changed:
                self.seen.setdefault(event["t"], []).append(event["d"])
                self._changed.notify_all()

    async def wait(self, name: str, count: int) -> list[Json]:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.seen.get(name, ())) >= count)
        return self.seen[name]

    async def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": "Bot t"}
        url = f"{self.at.api}/v10{path}"
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.status == 200 else None


async def main() -> int:
    """Measure and print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    connector = aiohttp.TCPConnector(limit=100)
    async with (
        # the bare client sends no heartbeats
        local_discord("--heartbeat-interval", "3600") as at,
        Control(at.url) as control,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        [server] = psutil.Process().children()
        bot = BareBot(at, session)
        await control.limits(enabled=False)
        await bot.connect()
        rows = await measure(bot, control, server, repeat)
        await bot.close()
    print(f"{'burst':<44}{'ms':>8}{'CPU ms':>8}{'CPU, each':>11}{'baseline':>10}{'ratio':>7}")
    for name, row in rows.items():
        each, baseline = row.cpu / row.count * 1000, row.baseline * 1000
        print(
            f"{name:<44}{row.took * 1000:>8.0f}{row.cpu * 1000:>8.0f}{each:>11.3f}{baseline:>10.3f}"
            f"{each / baseline:>7.2f}"
        )
    late = rows[FLOOD].cpu > REACTIONS / PER_SECOND or rows[INSTANT].cpu * 1000 > ACKNOWLEDGED_MS
    return int(late)


@dataclass(frozen=True)
class Row:
    """Seconds: on the clock, of the local Discord's processor, and of it for one idle request."""

    count: int
    took: float
    cpu: float
    baseline: float


FLOOD = f"{REACTIONS} reactions, each a request of a person's"
AT_ONCE = f"{REACTIONS} reactions in one instant"
INSTANT = f"{INTERACTIONS} interactions in one instant"
ANSWERED = f"{INTERACTIONS} interactions, deferred and edited"


async def measure(
    bot: BareBot, control: Control, server: psutil.Process, repeat: int
) -> dict[str, Row]:
    """By burst, the best of all tries."""
    ada = await control.person("ada")
    channel = await ada.channel("general")
    guild = (await ada.state())["guilds"][0]["id"]
    command = (await bot.call("PUT", f"/applications/{bot.at.application_id}/commands", [COMMAND]))[
        0
    ]
    crowd = await control.add_crowd(guild, REACTIONS)
    best: dict[str, Row] = {}

    async def nothing() -> None:
        await asyncio.gather(*(bot.call("GET", "/gateway") for _ in range(IDLE)))

    async def take(name: str, count: int, burst: Callable[[], Awaitable[object]]) -> None:
        _, baseline = await timed(server, nothing)
        took, cpu = await timed(server, burst)
        if name not in best or cpu < best[name].cpu:
            best[name] = Row(count, took, cpu, baseline / IDLE)

    for _ in range(repeat):
        for name, burst in (
            (FLOOD, flood(bot, control, channel, crowd, one_by_one=True)),
            (AT_ONCE, flood(bot, control, channel, crowd, one_by_one=False)),
            (INSTANT, instant(bot, control, channel, crowd, command["id"], answer=False)),
            (ANSWERED, instant(bot, control, channel, crowd, command["id"], answer=True)),
        ):
            await take(name, INTERACTIONS if "interactions" in name else REACTIONS, await burst)
    return best


async def timed(
    server: psutil.Process, what: Callable[[], Awaitable[object]]
) -> tuple[float, float]:
    began, before = time.perf_counter(), sum(server.cpu_times()[:2])
    await what()
    return time.perf_counter() - began, sum(server.cpu_times()[:2]) - before


async def flood(
    bot: BareBot, control: Control, channel: str, crowd: Sequence[str], *, one_by_one: bool
) -> Callable[[], Awaitable[object]]:
    """Everybody reacts to one message."""
    message = await bot.call("POST", f"/channels/{channel}/messages", {"content": "x"})
    before = len(bot.seen.get("MESSAGE_REACTION_ADD", ()))
    place = {"channel": channel, "message": message["id"], "emoji": "👍"}

    async def burst() -> None:
        if one_by_one:
            path = f"/channels/{channel}/messages/{message['id']}/reactions/%F0%9F%91%8D?user="
            await asyncio.gather(*(control.call("PUT", path + user) for user in crowd))
        else:
            await control.burst(reactions=[{"user": user, **place} for user in crowd])
        await bot.wait("MESSAGE_REACTION_ADD", before + len(crowd))

    return burst


async def instant(
    bot: BareBot,
    control: Control,
    channel: str,
    crowd: Sequence[str],
    command: str,
    *,
    answer: bool,
) -> Callable[[], Awaitable[object]]:
    """A hundred people use a command at once; `answer`: until all are deferred and edited."""
    before = len(bot.seen.get("INTERACTION_CREATE", ()))
    act = {"type": 2, "channel": channel, "command": command}

    async def respond(event: Json) -> None:
        where = f"{event['id']}/{event['token']}"
        await bot.call("POST", f"/interactions/{where}/callback", {"type": 5})
        hook = f"/webhooks/{bot.at.application_id}/{event['token']}/messages/@original"
        await bot.call("PATCH", hook, {"content": "done"})

    async def burst() -> None:
        acts = [{"user": user, **act} for user in crowd[:INTERACTIONS]]
        await control.burst(interactions=acts)
        events = await bot.wait("INTERACTION_CREATE", before + INTERACTIONS)
        if answer:
            await asyncio.gather(*(respond(event) for event in events[before:]))

    return burst


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
