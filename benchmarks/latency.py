"""How fast the bot answers Discord while pictures are made as fast as the machine can.

    python -m benchmarks.latency [--samples 300]

Two bots in turn, each on a local Discord and with a queue that never empties: the real one, whose
child process draws, and one that draws in a thread of the bot's own process, as most bots do.
Timed is what a person waits: from sending an interaction until its answer arrives. The first kind
of interaction is autocomplete, the second a whole `/imagine` up to "is thinking", stored first, the
third a hundred of these in the same instant.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

PROJECT = Path(__file__).resolve().parent.parent
TARGETS_MS = {"autocomplete": 100.0, "/imagine": 100.0, "100 at once": 250.0}
BURST = 100
BURSTS = 3
TIME_LIMIT = 600.0
"""Seconds for one of the two bots."""
BUSY_JOB = {"prompt": "a cat on green", "steps": 60, "count": 4}
CONFIG = """
[discord]
api = "{api}"
gateway = "{gateway}"
[storage]
folder = "data"
[limits]
waiting = 1000
[models.demo]
sampler = "DPM++ 2M"
steps = 60
[log]
level = "error"
"""


async def main() -> int:
    """Measure both bots and print the table; 1 when the real one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=300)
    samples = parser.parse_args().samples
    measured = {
        "thread of the bot": await measure("benchmarks.thread_bot", samples),
        "child process": await measure("bot", samples),
    }
    print(
        f"{'generation in':<20}{'interaction':<15}{'p50 ms':>9}{'p90':>9}{'p99':>9}{'max':>9}"
        f"{'p99 ratio':>11}"
    )
    for where, kinds in measured.items():
        for kind, times in kinds.items():
            p50, p90, p99 = (percentile(times, share) for share in (50, 90, 99))
            baseline = percentile(measured["thread of the bot"][kind], 99)
            print(
                f"{where:<20}{kind:<15}{p50:>9.1f}{p90:>9.1f}{p99:>9.1f}{max(times):>9.1f}"
                f"{p99 / baseline:>11.3f}"
            )
    missed = False
    print()
    for kind, times in measured["child process"].items():
        p99, target = percentile(times, 99), TARGETS_MS[kind]
        missed = missed or p99 > target
        verdict = "meets" if p99 <= target else "MISSES"
        print(
            f"{kind}: the bot {verdict} its target: p99 of {p99:.1f} ms, at most {target:.0f} ms."
        )
    return int(missed)


def percentile(times: list[float], share: int) -> float:
    """The value below which that share of the times lie."""
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1]


async def measure(module: str, samples: int) -> dict[str, list[float]]:
    """Milliseconds by kind of interaction, for the bot that `python -m module` starts."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with playground() as address, aiohttp.ClientSession(address["url"]) as http:
            config = Path(folder) / "config.toml"
            config.write_text(CONFIG.format_map(address), encoding="utf-8")
            async with bot(module, config, address["token"]), asyncio.timeout(TIME_LIMIT):
                return await Person(http).measure(samples)
    raise AssertionError("not reached")


@contextlib.asynccontextmanager
async def playground() -> AsyncIterator[dict[str, str]]:
    """A local Discord of its own; yields its addresses."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "playground", "--port", "0", "--until-stdin-closes"),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def bot(module: str, config: Path, token: str) -> AsyncIterator[None]:
    """A bot's process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--config", str(config), "run"),
        cwd=PROJECT,
        env={**os.environ, "DISCORD_TOKEN": token},
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


class Person:
    """Somebody in the local Discord who keeps the queue full and holds a stop-watch."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.user = ""
        self.channel = ""
        self.command: dict[str, str] = {}

    async def measure(self, samples: int) -> dict[str, list[float]]:
        """Wait for the bot, fill its queue, wait until it draws, measure."""
        await self._meet_the_bot()
        times: dict[str, list[float]] = {kind: [] for kind in TARGETS_MS}
        async with self.http.ws_connect(f"/control/events?user={self.user}") as events:
            for _ in range(3):
                await self._timed(events, self._imagine(), "INTERACTION_SUCCESS")
            await self._until_it_draws(events)
            for _ in range(samples):
                spent = await self._timed(events, self._typing(), "INTERACTION_AUTOCOMPLETE")
                times["autocomplete"].append(spent)
                spent = await self._timed(events, self._imagine(), "INTERACTION_SUCCESS")
                times["/imagine"].append(spent)
                # a person every tenth of a second, so that answers don't queue behind each other
                await asyncio.sleep(0.1)
            for _ in range(BURSTS):
                times["100 at once"] += await self._at_once(events)
                await asyncio.sleep(1)
        return times

    async def _meet_the_bot(self) -> None:
        for _ in range(600):
            async with self.http.get("/control/state", params={"user": "ada"}) as response:
                state = await response.json()
            if state["application"]["online"] and state["commands"]:
                break
            await asyncio.sleep(0.1)
        self.user = state["me"]["id"]
        channels = state["guilds"][0]["channels"]
        self.channel = next(channel["id"] for channel in channels if channel["type"] == 0)
        self.command = next(c for c in state["commands"] if c["name"] == "imagine")

    async def _until_it_draws(self, events: aiohttp.ClientWebSocketResponse) -> None:
        """Steps are denoised once a preview is attached to the answer."""
        async for message in events:
            event = message.json()
            if event["t"] == "MESSAGE_UPDATE" and event["d"].get("attachments"):
                return

    async def _timed(
        self, events: aiohttp.ClientWebSocketResponse, interaction: dict[str, object], answer: str
    ) -> float:
        begun = time.perf_counter()
        body = {"user": self.user, "channel": self.channel, "nonce": str(begun), **interaction}
        async with self.http.post("/control/interactions", json=body) as response:
            response.raise_for_status()
        async for message in events:
            event = message.json()
            if event["t"] == "INTERACTION_FAILURE":
                raise RuntimeError(f"the bot did not answer: {event['d']}")
            if event["t"] == answer and event["d"].get("nonce") == str(begun):
                return (time.perf_counter() - begun) * 1000
        raise RuntimeError("the local Discord closed the connection")

    async def _at_once(self, events: aiohttp.ClientWebSocketResponse) -> list[float]:
        """A hundred people ask in the same instant; when each is acknowledged."""
        begun = time.perf_counter()
        nonces = {f"{begun}-{number}" for number in range(BURST)}

        async def ask(nonce: str) -> None:
            body = {"user": self.user, "channel": self.channel, "nonce": nonce, **self._imagine()}
            async with self.http.post("/control/interactions", json=body) as response:
                response.raise_for_status()

        asking = asyncio.gather(*map(ask, nonces))
        times: list[float] = []
        async for message in events:
            event = message.json()
            # who was not answered within Discord's three seconds waited for these
            answers = ("INTERACTION_SUCCESS", "INTERACTION_FAILURE")
            if event["t"] in answers and event["d"].get("nonce") in nonces:
                times.append((time.perf_counter() - begun) * 1000)
                if len(times) == BURST:
                    break
        await asking
        return times

    def _imagine(self) -> dict[str, object]:
        types = {"prompt": 3, "steps": 4, "count": 4}
        options = [
            {"name": name, "type": types[name], "value": value} for name, value in BUSY_JOB.items()
        ]
        return {"type": 2, "command": self.command["id"], "options": options}

    def _typing(self) -> dict[str, object]:
        typed = {"name": "sampler", "type": 3, "value": "eul", "focused": True}
        return {"type": 4, "command": self.command["id"], "options": [typed]}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
