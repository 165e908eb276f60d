"""Whether anything is lost, or comes twice, when one of several bots falls over.

    python -m benchmarks.process_kills [--processes 3] [--hosts 2] [--kills 200] [--seed 1]

Several processes of one bot, each with its shard and a server of its own, over one PostgreSQL, one
folder of pictures and one NATS; hosts draw without a model. Every so many seconds a process or a
host is killed (SIGKILL), at random, and started again after a while. Whatever was accepted must be
delivered once, by the process that was asked, or its owner told why not; nobody may have more than
the limits allow, whichever servers they ask in.
"""

import argparse
import asyncio
import collections
import contextlib
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.kills import PICTURE, Outcome, print_outcome, until
from playground.control import Control
from playground.person import Person
from playground.process import local_discord
from playground.server import Addresses
from storage.database import migrate
from storage.settings import SettingsStore
from tests import postgres
from tests.fixtures.bot_process import BotProcess
from tests.fixtures.host_process import HostOptions, HostProcess
from tests.nats_server import NatsServer

CONFIG: Final = """
[discord]
api = "{{api}}"
gateway = "{{gateway}}"
welcome = false
shard_count = {count}
shards = [{shard}]
[storage]
folder = "{folder}"
pictures = "{pictures}"
database = "{database}"
process = "{name}"
[models]
default = "big"
[models.big]
steps = 6
width = 64
height = 64
[worker]
picture_check_model = "off"
[limits]
waiting = {waiting}
[nats]
url = "{nats}"
draw_here = false
away_after = {away_after}
"""
AWAY_AFTER: Final = 7.0
STEP_SECONDS: Final = 0.1
DOWN: Final = 6.0
"""Seconds that what was killed stays away at most."""
HOSTS_SHARE: Final = 0.25
"""Of the kills are so many of hosts."""
WAITING: Final = 3
"""Requests of one person that may wait or run at once, over all servers."""
QUOTA: Final = 12
"""Pictures a day of one person, in the first server alone."""
ASK_SECONDS: Final = 8.0
SETTLED_WITHIN: Final = 300.0


class ProcessOutcome(msgspec.Struct, frozen=True):
    """What became of it all; `most_at_once` and `most_in_a_day` are of one person."""

    outcome: Outcome
    elsewhere: tuple[int, ...]
    """Jobs that another process than the asked one had in the end."""
    most_at_once: int
    most_in_a_day: int


class Trial:
    """The processes, the hosts and those who ask."""

    def __init__(
        self,
        folder: Path,
        discord: Addresses,
        database: str,
        processes: int,
        hosts: int,
        chance: random.Random,
    ) -> None:
        self.folder = folder
        self.discord = discord
        self.database = database
        self.chance = chance
        self.server = NatsServer(folder / "nats")
        self.count = processes
        self.logs = [(folder / f"bot{number}.log").open("ab") for number in range(processes)]
        self.bots = [
            BotProcess(discord, self._folder(number), self.logs[number])
            for number in range(processes)
        ]
        self.hosts = [self._host(number) for number in range(1, hosts + 1)]
        self.kills: collections.Counter[str] = collections.Counter()
        self.asked = self.refused = self.most_at_once = 0
        self.channels: list[str] = []
        self.guilds: list[int] = []
        self._down: set[str] = set()
        self._coming_back: set[asyncio.Task[None]] = set()

    def _folder(self, number: int) -> Path:
        folder = self.folder / f"bot{number}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _host(self, number: int) -> HostProcess:
        options = HostOptions(
            name=f"host{number}",
            url=self.server.url,
            away_after=AWAY_AFTER,
            step_seconds=STEP_SECONDS,
            files={"big": "a large one"},
        )
        return HostProcess(self.folder / options.name, options)

    async def start(self, control: Control) -> None:
        """A server for each shard, its settings, and all machines."""
        owner = await control.person("ada")
        found: dict[int, str] = {}
        while len(found) < self.count:
            made = await control.add_guild("another", owner="ada")
            found.setdefault((int(made["id"]) >> 22) % self.count, made["id"])
        self.guilds = [int(found[shard]) for shard in range(self.count)]
        state = await owner.state()
        for guild in self.guilds:
            [channels] = [g["channels"] for g in state["guilds"] if g["id"] == str(guild)]
            self.channels.append(next(c["id"] for c in channels if c["name"] == "general"))
        await asyncio.to_thread(migrate, self.database)
        async with _database(self.database) as database:
            await SettingsStore(database).change_guild(self.guilds[0], quota=QUOTA)
        await asyncio.to_thread(self.server.start)
        for host in self.hosts:
            host.start()
        await asyncio.gather(*(self._start_bot(number) for number in range(self.count)))

    async def _start_bot(self, number: int) -> None:
        config = CONFIG.format(
            count=self.count,
            shard=number,
            folder=(self._folder(number) / "data").as_posix(),
            pictures=(self.folder / "pictures").as_posix(),
            database=self.database,
            name=f"p{number}",
            nats=self.server.url,
            waiting=WAITING,
            away_after=AWAY_AFTER,
        )
        await self.bots[number].run(config)

    async def run(self, control: Control, kills: int, people: int, every: float) -> ProcessOutcome:
        """Kill so often while people ask, and see what became of it."""
        began = time.monotonic()
        members = []
        for number in range(people):
            await control.add_user(f"member{number}")
            members.append(await control.person(f"member{number}"))
        for channel in self.channels:
            await until(partial(self._answers, members[0], channel), SETTLED_WITHIN)
        asking = [asyncio.create_task(self._ask(member)) for member in members]
        asking.append(asyncio.create_task(self._watch()))
        while self.kills.total() < kills:
            await asyncio.sleep(self.chance.uniform(0.2, 2 * every))
            await self._kill()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._coming_back:
            await asyncio.wait(self._coming_back)
        with contextlib.suppress(TimeoutError):
            await until(self._settled, SETTLED_WITHIN)
        await asyncio.sleep(3.0)
        names = []
        owner = await control.person("ada")
        for channel in self.channels:
            shown = await owner.messages(channel, 10_000)
            names += [file["filename"] for message in shown for file in message["attachments"]]
        return await self._outcome(names, time.monotonic() - began)

    async def _answers(self, person: Person, channel: str) -> bool:
        """Ask until somebody hears: then that process is there."""
        try:
            await self._ask_once(person, channel)
        except Exception:  # noqa: BLE001 - it is not there yet
            self.refused += 1
            return False
        return True

    async def _ask(self, person: Person) -> None:
        while True:
            try:
                await self._ask_once(person, self.chance.choice(self.channels))
            except Exception:  # noqa: BLE001 - that process is down, or was killed as it was asked
                self.refused += 1
            await asyncio.sleep(self.chance.uniform(0.1, 1.5))

    async def _watch(self) -> None:
        """Look again and again how many requests of one person wait or run."""
        async with _database(self.database) as database:
            while True:
                async with database.connect() as connection:
                    found = await connection.exec_driver_sql(
                        "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
                        " GROUP BY user_id ORDER BY count(*) DESC LIMIT 1"
                    )
                    self.most_at_once = max(self.most_at_once, found.scalar() or 0)
                await asyncio.sleep(0.1)

    async def _ask_once(self, person: Person, channel: str) -> None:
        self.asked += 1
        act = await person.command(channel, "imagine", prompt=f"a fox {self.asked}", model="big")
        await act.deferred(timeout=ASK_SECONDS)

    async def _kill(self) -> None:
        """One of those that are there, if any is."""
        of_hosts = self.chance.random() < HOSTS_SHARE
        kind, count = ("host", len(self.hosts)) if of_hosts else ("process", self.count)
        there = [number for number in range(count) if f"{kind} {number}" not in self._down]
        if not there:
            return
        number = self.chance.choice(there)
        self.kills[kind] += 1
        self._down.add(f"{kind} {number}")
        if of_hosts:
            await asyncio.to_thread(self.hosts[number].kill)
        else:
            await self.bots[number].kill()
        task = asyncio.create_task(self._bring_back(kind, number))
        self._coming_back.add(task)
        task.add_done_callback(self._coming_back.discard)

    async def _bring_back(self, kind: str, number: int) -> None:
        await asyncio.sleep(0.0 if self.chance.random() < 0.3 else self.chance.uniform(0.0, DOWN))
        if kind == "host":
            self.hosts[number].start()
        else:
            await self._start_bot(number)
            if self.chance.random() < 0.7:
                # the others are killed as they start
                log = self.folder / f"bot{number}.log"
                since = log.stat().st_size
                with contextlib.suppress(TimeoutError):
                    await until(lambda: _said(log, since, b"connected"), 30.0)
        self._down.discard(f"{kind} {number}")

    async def _rows(self) -> list[Any]:
        async with _database(self.database) as database, database.connect() as connection:
            found = await connection.exec_driver_sql(
                "SELECT id, state, process, user_id, guild_id, created_at, ended_at, delivered_at,"
                " failure FROM jobs ORDER BY id"
            )
            return list(found.mappings())

    async def _settled(self) -> bool:
        return all(row["delivered_at"] for row in await self._rows())

    async def _outcome(self, names: list[str], seconds: float) -> ProcessOutcome:
        rows = await self._rows()
        posted = collections.Counter(name for name in names if PICTURE.fullmatch(name))
        shown = {int(PICTURE.fullmatch(name)[1]) for name in posted}  # type: ignore[index]
        finished = {row["id"] for row in rows if row["state"] == "finished"}
        told: collections.Counter[str] = collections.Counter()
        for row in rows:
            if row["state"] in ("failed", "cancelled") and row["delivered_at"]:
                told[str(msgspec.json.decode(row["failure"]).get("code"))] += 1
        lost = [row["id"] for row in rows if not row["delivered_at"]]
        lost += sorted(finished - shown)
        shards = {guild: f"p{shard}" for shard, guild in enumerate(self.guilds)}
        outcome = Outcome(
            kills=dict(self.kills),
            asked=self.asked,
            refused=self.refused,
            accepted=len(rows),
            delivered=len(finished & shown),
            told=dict(told),
            lost=tuple(lost),
            twice=tuple(name for name, count in posted.items() if count > 1),
            drawn=sum(len(host.began) for host in self.hosts),
            seconds=seconds,
        )
        return ProcessOutcome(
            outcome,
            tuple(row["id"] for row in rows if row["process"] != shards[row["guild_id"]]),
            self.most_at_once,
            _most_in_a_day(rows, self.guilds[0]),
        )

    async def close(self) -> None:
        """End everything."""
        for task in self._coming_back:
            task.cancel()
        for bot in self.bots:
            with contextlib.suppress(AttributeError):
                await bot.kill()
        for host in self.hosts:
            host.kill()
        self.server.stop()
        for log in self.logs:
            log.close()


def _most_in_a_day(rows: list[Any], guild: int) -> int:
    """Pictures of one person that count against the quota of that server."""
    counted: collections.Counter[int] = collections.Counter()
    for row in rows:
        if row["guild_id"] == guild and row["state"] not in ("failed", "cancelled"):
            counted[row["user_id"]] += 1
    return max(counted.values(), default=0)


async def _said(log: Path, since: int, what: bytes) -> bool:
    with log.open("rb") as file:
        file.seek(since)
        return what in file.read()


@contextlib.asynccontextmanager
async def _database(url: str) -> Any:
    from storage.database import make_database

    database = make_database(url)
    try:
        yield database
    finally:
        await database.dispose()


async def trial(
    folder: Path,
    database: str,
    *,
    processes: int,
    hosts: int,
    kills: int,
    people: int,
    every: float,
    seed: int,
) -> ProcessOutcome:
    """One trial over an empty database, with everything else in that folder."""
    async with local_discord() as discord, Control(discord.url) as control:
        made = Trial(folder, discord, database, processes, hosts, random.Random(seed))
        try:
            await made.start(control)
            return await made.run(control, kills, people, every)
        finally:
            await made.close()


def main() -> int:
    """Print what became of it; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=3)
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
        url = stack.enter_context(postgres.running())
        found = asyncio.run(
            trial(
                folder,
                url,
                processes=options.processes,
                hosts=options.hosts,
                kills=options.kills,
                people=options.people,
                every=options.every,
                seed=options.seed,
            )
        )
    print_outcome(found.outcome)
    print(f"{'at once':<16}{found.most_at_once} of {WAITING}")
    print(f"{'in a day':<16}{found.most_in_a_day} of {QUOTA}")
    print(f"{'not their own':<16}{len(found.elsewhere)}")
    if broken(found):
        print(f"lost {found.outcome.lost}\ntwice {found.outcome.twice}\n{found.elsewhere}")
        return 1
    return 0


def broken(found: ProcessOutcome) -> bool:
    """Whether it went wrong."""
    bad = found.outcome.lost or found.outcome.twice or found.elsewhere
    return bool(bad) or found.most_at_once > WAITING or found.most_in_a_day > QUOTA


if __name__ == "__main__":
    sys.exit(main())
