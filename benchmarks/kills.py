"""Whether anything is lost, or comes twice, when machines are killed while people ask.

    python -m benchmarks.kills [--hosts 2] [--kills 200] [--people 4] [--every 3] [--seed 1]

The whole bot as a process, a local Discord, a NATS server and workers on other hosts that draw
without a model. Every so many seconds a host, the NATS server or the bot is killed (SIGKILL), at
random, and started again after a while. Whatever was accepted must be delivered once, or its owner
told why not. `refused` are requests that the bot never acknowledged, as it was down.
"""

import argparse
import asyncio
import collections
import contextlib
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from playground.control import Control
from playground.person import Person
from playground.process import local_discord
from playground.server import Addresses
from tests.fixtures.bot_process import BotProcess
from tests.fixtures.host_process import HostOptions, HostProcess
from tests.nats_server import NatsServer

CONFIG: Final = """
[discord]
api = "{{api}}"
gateway = "{{gateway}}"
welcome = false
[models]
default = "big"
[models.big]
steps = 6
width = 64
height = 64
[worker]
picture_check_model = "off"
[limits]
waiting = 1000
[nats]
url = "{url}"
draw_here = false
away_after = {away_after}
"""
AWAY_AFTER: Final = 7.0
STEP_SECONDS: Final = 0.1
DOWN: Final = 6.0
"""Seconds that what was killed stays away at most: some come back in time, some too late."""
BOT_BACK: Final = 0.7
"""Of the kills are so many while the bot is there; the others while it may be starting."""
ASK_SECONDS: Final = 8.0
SETTLED_WITHIN: Final = 240.0
PICTURE: Final = re.compile(r"darkroom-(\d+)-(\d+)\.\w+")


class Outcome(msgspec.Struct, frozen=True):
    """What became of it all."""

    kills: dict[str, int]
    asked: int
    refused: int
    accepted: int
    delivered: int
    told: dict[str, int]
    """Those that ended without a picture, by the sentence that their owner read."""
    lost: tuple[int, ...]
    """Jobs that have not ended, or of which nobody was told."""
    twice: tuple[str, ...]
    """Pictures that were posted more than once."""
    drawn: int
    """Orders that hosts have begun, again and again included."""
    seconds: float


class Trial:
    """The machines, and those who ask."""

    def __init__(
        self, folder: Path, discord: Addresses, hosts: int, people: int, chance: random.Random
    ) -> None:
        self.folder = folder
        self.server = NatsServer(folder / "nats")
        self.discord = discord
        self.log = (folder / "bot.log").open("ab")
        self.bot = BotProcess(discord, folder, self.log)
        self.hosts = [self._host(number) for number in range(1, hosts + 1)]
        self.people = people
        self.chance = chance
        self.kills: collections.Counter[str] = collections.Counter()
        self.asked = self.refused = 0
        self._down: set[str] = set()
        self._coming_back: set[asyncio.Task[None]] = set()

    def _host(self, number: int) -> HostProcess:
        options = HostOptions(
            name=f"host{number}",
            url=self.server.url,
            away_after=AWAY_AFTER,
            step_seconds=STEP_SECONDS,
            files={"big": "a large one"},
        )
        return HostProcess(self.folder / options.name, options)

    async def start(self) -> None:
        """All of them."""
        await asyncio.to_thread(self.server.start)
        for host in self.hosts:
            host.start()
        await self._start_bot()

    async def _start_bot(self) -> None:
        await self.bot.run(CONFIG.format(url=self.server.url, away_after=AWAY_AFTER))

    async def run(self, control: Control, kills: int, every: float) -> Outcome:
        """Kill so often while people ask, and see what became of it."""
        began = time.monotonic()
        owner = await control.person("ada")
        channel = await owner.channel("general")
        await until(lambda: _online(owner), SETTLED_WITHIN)
        await until(self._a_job_is_done(owner, channel), SETTLED_WITHIN)
        asking = [asyncio.create_task(self._ask(owner, channel)) for _ in range(self.people)]
        for _ in range(kills):
            await asyncio.sleep(self.chance.uniform(0.2, 2 * every))
            if self.chance.random() < BOT_BACK:
                while "bot" in self._down:  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(0.1)
            await self._kill(owner)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._coming_back:
            await asyncio.wait(self._coming_back)
        with contextlib.suppress(TimeoutError):
            await until(self._settled, SETTLED_WITHIN)
        await asyncio.sleep(3.0)
        shown = await owner.messages(channel, 10_000)
        names = [file["filename"] for message in shown for file in message["attachments"]]
        return self._outcome(names, time.monotonic() - began)

    def _a_job_is_done(self, owner: Person, channel: str) -> Callable[[], Awaitable[bool]]:
        """Asks until one was drawn: everything has started then."""

        async def done() -> bool:
            if not self._jobs():
                with contextlib.suppress(Exception):
                    await self._ask_once(owner, channel)
            return await self._settled() and bool(self._jobs())

        return done

    async def _ask(self, person: Person, channel: str) -> None:
        while True:
            try:
                await self._ask_once(person, channel)
            except Exception:  # noqa: BLE001 - the bot is down, or was killed while it was asked
                self.refused += 1
            await asyncio.sleep(self.chance.uniform(0.3, 2.5))

    async def _ask_once(self, person: Person, channel: str) -> None:
        self.asked += 1
        act = await person.command(channel, "imagine", prompt=f"a fox {self.asked}", model="big")
        await act.deferred(timeout=ASK_SECONDS)

    async def _kill(self, owner: Person) -> None:
        """One of those that are there; first one of each kind."""
        names = ["bot", "nats", *(f"host {number}" for number in range(len(self.hosts)))]
        # half of the kills are of hosts, however many there are
        weights = [1.0, 1.0, *(2.0 / len(self.hosts) for _ in self.hosts)]
        there = [
            (name, weight)
            for name, weight in zip(names, weights, strict=True)
            if name not in self._down
        ]
        new = [each for each in there if each[0].split()[0] not in self.kills]
        there = new or there
        if not there:
            return
        [victim] = self.chance.choices(*zip(*there, strict=True))
        assert isinstance(victim, str)
        self.kills[victim.split()[0]] += 1
        self._down.add(victim)
        match victim.split():
            case ["bot"]:
                await self.bot.kill()
            case ["nats"]:
                await asyncio.to_thread(self.server.stop)
            case [_, number]:
                await asyncio.to_thread(self.hosts[int(number)].kill)
        pause = 0.0 if self.chance.random() < 0.3 else self.chance.uniform(0.0, DOWN)
        task = asyncio.create_task(self._bring_back(victim, pause, owner))
        self._coming_back.add(task)
        task.add_done_callback(self._coming_back.discard)

    async def _bring_back(self, victim: str, pause: float, owner: Person) -> None:
        await asyncio.sleep(pause)
        match victim.split():
            case ["bot"]:
                await self._start_bot()
                # people see when it is there
                await until(lambda: _online(owner), SETTLED_WITHIN)
            case ["nats"]:
                await asyncio.to_thread(self.server.start)
            case [_, number]:
                self.hosts[int(number)].start()
        self._down.discard(victim)

    def _jobs(self) -> list[tuple[int, str, str | None, bytes | None]]:
        file = self.folder / "data" / "darkroom.sqlite3"
        if not file.exists():
            return []
        with contextlib.closing(sqlite3.connect(file, timeout=30.0)) as connection:
            try:
                return connection.execute(
                    "SELECT id, state, delivered_at, failure FROM jobs ORDER BY id"
                ).fetchall()
            except sqlite3.OperationalError:
                return []

    async def _settled(self) -> bool:
        return all(delivered for _, _, delivered, _ in self._jobs())

    def _outcome(self, names: list[str], seconds: float) -> Outcome:
        jobs = self._jobs()
        posted = collections.Counter(name for name in names if PICTURE.fullmatch(name))
        shown = {int(PICTURE.fullmatch(name)[1]) for name in posted}  # type: ignore[index]
        finished = {number for number, state, _, _ in jobs if state == "finished"}
        told: collections.Counter[str] = collections.Counter()
        for _, state, delivered, failure in jobs:
            if state in ("failed", "cancelled") and delivered:
                code = msgspec.json.decode(failure) if failure else {}
                told[str(code.get("code", state)) if isinstance(code, dict) else state] += 1
        lost = [number for number, _, delivered, _ in jobs if not delivered]
        lost += sorted(finished - shown)
        return Outcome(
            kills=dict(self.kills),
            asked=self.asked,
            refused=self.refused,
            accepted=len(jobs),
            delivered=len(finished & shown),
            told=dict(told),
            lost=tuple(lost),
            twice=tuple(name for name, count in posted.items() if count > 1),
            drawn=sum(len(host.began) for host in self.hosts),
            seconds=seconds,
        )

    async def close(self) -> None:
        """End everything."""
        for task in self._coming_back:
            task.cancel()
        with contextlib.suppress(AttributeError):
            await self.bot.kill()
        for host in self.hosts:
            host.kill()
        self.server.stop()
        self.log.close()


async def _online(person: Person) -> bool:
    state = await person.state()
    return bool(state["application"]["online"] and state["commands"])


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until that is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - of other processes nobody tells
            await asyncio.sleep(0.3)


async def trial(
    folder: Path, *, hosts: int, kills: int, people: int, every: float, seed: int
) -> Outcome:
    """One trial, with everything in that folder."""
    async with local_discord() as discord, Control(discord.url) as control:
        made = Trial(folder, discord, hosts, people, random.Random(seed))
        try:
            await made.start()
            return await made.run(control, kills, every)
        finally:
            await made.close()


def print_outcome(outcome: Outcome) -> None:
    """The table."""
    killed = ", ".join(f"{name} {count}" for name, count in sorted(outcome.kills.items()))
    told = ", ".join(f"{code} {count}" for code, count in sorted(outcome.told.items())) or "none"
    for name, value in (
        ("kills", f"{sum(outcome.kills.values())} ({killed})"),
        ("seconds", f"{outcome.seconds:.0f}"),
        ("asked", outcome.asked),
        ("refused", outcome.refused),
        ("accepted", outcome.accepted),
        ("delivered", outcome.delivered),
        ("told why not", told),
        ("begun on hosts", outcome.drawn),
        ("lost", len(outcome.lost)),
        ("posted twice", len(outcome.twice)),
    ):
        print(f"{name:<16}{value}", flush=True)


def main() -> int:
    """Print what became of it; 1 where something was lost or came twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--people", type=int, default=4, help="asking at a time")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to keep the logs")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(
            trial(
                folder,
                hosts=options.hosts,
                kills=options.kills,
                people=options.people,
                every=options.every,
                seed=options.seed,
            )
        )
    print_outcome(outcome)
    if outcome.lost or outcome.twice:
        print(f"lost {outcome.lost}\ntwice {outcome.twice}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
