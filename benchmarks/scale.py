"""How far it scales: N workers on other hosts, and what a job costs the bot as more people ask.

    python -m benchmarks.scale [--workers 1,2,4,8,16] [--picture 2.0] [--each 6]
                               [--waiting 100,1000,10000] [--jobs 200]

The first table: the bot's pool and store with N workers in another process, over a real NATS
server, each of which sleeps as long as a picture takes. `of N` is the throughput by N times that of
one; `bot ms` is CPU of the bot's process a picture, without Discord's part; `at most` is how many
such workers would keep one processor busy.

The second: the whole bot on a Discord that is made up, with so many requests waiting, of so many
people on so many servers, whose messages it keeps up to date. `stall` is the longest that its event
loop did one thing, in CPU; `a second` how many pictures one processor could deliver. Where `stall`
passes TARGET_MS or a second has fewer pictures than people ask for, it breaks.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from benchmarks.flood import CHANNEL, TARGET_MS, a_bot
from benchmarks.soak import REQUEST
from benchmarks.soak_delivery import MadeUpWebhooks
from generation.fleet.catalog import FleetCatalog
from generation.fleet.hosts import Fleet
from generation.job import InteractionToken, Job, Origin
from generation.messages import JobEvent
from generation.messaging.settings import NatsSettings
from generation.worker_pool import WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.host_process import FilesCatalog, HostOptions, HostProcess
from tests.nats_server import NatsServer, running

WIDTH: Final = 10
STEPS: Final = 10
AWAY_AFTER: Final = 30.0
LOOK_EVERY: Final = 0.01
"""Seconds; more often would cost more than what is measured."""
STARTED_WITHIN: Final = 120.0


class Throughput(msgspec.Struct, frozen=True):
    """What so many workers did."""

    workers: int
    pictures: int
    seconds: float
    bot_ms: float
    """CPU of the bot's process a picture."""

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


class Turns:
    """What one turn of the event loop costs at most, in CPU of its thread: what other programs take
    of a busy machine does not count.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(LOOK_EVERY)
            self.longest = max(self.longest, time.thread_time() - before)

    async def end(self) -> float:
        """Seconds."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.longest


async def throughput(
    server: NatsServer, folder: Path, workers: int, picture: float, each: int
) -> Throughput:
    """So many jobs for each of so many workers, all asked for before the first is drawn."""
    options = HostOptions(
        name="host",
        url=server.url,
        away_after=AWAY_AFTER,
        step_seconds=picture / STEPS,
        workers=workers,
        files={"demo": "a model"},
    )
    host = HostProcess(folder / f"hosts-{workers}", options)
    database = await open_database(sqlite_url(folder / f"{workers}.sqlite3"))
    store = JobStore(database, PictureFiles(folder / f"pictures-{workers}"))
    catalog = FleetCatalog(FilesCatalog(folder / "own"))
    await catalog.scan()
    pool = WorkerPool(store, catalog, affinity=60.0)
    settings = NatsSettings(url=server.url, draw_here=False, away_after=AWAY_AFTER)
    fleet = Fleet(settings, pool, catalog, folder / f"cache-{workers}", needs_check=lambda: False)
    wanted = workers * each
    done = asyncio.Event()
    ended = itertools.count(1)

    def hear(job: Job, _event: JobEvent | None) -> None:
        if job.ended and next(ended) == wanted:
            done.set()

    pool.listen(hear)
    following = asyncio.create_task(fleet.run())
    host.start()
    working: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(STARTED_WITHIN):
            while len(pool.workers) < workers:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.05)
        request = msgspec.structs.replace(REQUEST, steps=STEPS)
        for number in range(wanted):
            origin = Origin(user_id=number % (2 * workers), user_name="somebody")
            await store.add(msgspec.structs.replace(request, seed=number), origin)
        began, cpu = time.monotonic(), time.process_time()
        working = asyncio.create_task(pool.run())
        await done.wait()
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    finally:
        for task in filter(None, (working, following)):
            task.cancel()
        await asyncio.gather(*filter(None, (working, following)), return_exceptions=True)
        await pool.stop()
        host.kill()
        await store.close()
        await database.dispose()
    return Throughput(workers, wanted, seconds, cpu / wanted * 1000)


def print_heading(*names: str) -> None:
    """The first line of a table of columns of WIDTH."""
    print("".join(f"{name:>{WIDTH}}" for name in names))


async def print_throughputs(workers: list[int], picture: float, each: int) -> bool:
    """The first table; whether each was 0.95 times as much as N of one."""
    print_heading("workers", "pictures", "seconds", "a second", "of N", "bot ms", "at most")
    first: Throughput | None = None
    enough = True
    for count in workers:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            running(Path(folder) / "nats") as server,
        ):
            found = await throughput(server, Path(folder), count, picture, each)
        first = first or found
        share = found.rate / (found.workers / first.workers * first.rate)
        enough = enough and share >= 0.95
        most = picture / (found.bot_ms / 1000)
        print(
            f"{count:>10}{found.pictures:>10}{found.seconds:>10.1f}{found.rate:>10.2f}{share:>10.3f}"
            f"{found.bot_ms:>10.1f}{most:>10.0f}",
            flush=True,
        )
    return enough


async def print_growth(waiting: list[int], jobs: int) -> None:
    """The second table."""
    adapter: AsyncWebhookAdapter = MadeUpWebhooks()  # type: ignore[no-untyped-call]
    async_context.set(adapter)
    print()
    print_heading("waiting", "people", "servers", "ask ms", "draw ms", "stall ms", "a second")
    for count in waiting:
        for people, servers in _sizes(count):
            print(await growth(count, people, servers, jobs), flush=True)


def _sizes(waiting: int) -> Iterator[tuple[int, int]]:
    """People and servers: few with many requests each, and as many as there are requests."""
    yield 10, 1
    yield waiting, max(1, waiting // 10)


async def growth(waiting: int, people: int, servers: int, jobs: int) -> str:
    """A line: what asking and drawing cost with so many requests before them."""
    async with a_bot() as (client, made_up):
        made_up.seconds = 0.0
        store, pool = client.services.store.jobs, client.services.workers
        drawn = 0
        enough = asyncio.Event()

        def hear(job: Job, _event: JobEvent | None) -> None:
            nonlocal drawn
            drawn += job.ended
            if drawn >= jobs:
                enough.set()

        worker = pool.workers[0]
        worker.runs = lambda _job: False
        for number in range(waiting):
            job = await store.add(
                msgspec.structs.replace(REQUEST, seed=number), _origin(number, people, servers)
            )
            pool.wake(job)
        # as the bot does once it has started
        gc.collect()
        gc.freeze()
        turns = Turns()
        cpu = time.process_time()
        for number in range(jobs):
            origin = _origin(number, people, servers)
            job = await store.add(msgspec.structs.replace(REQUEST, seed=number), origin)
            client.services.delivery.track(job)
            pool.wake(job)
        asking = time.process_time() - cpu
        pool.listen(hear)
        cpu = time.process_time()
        worker.runs = None
        pool.wake()
        await enough.wait()
        drawing = time.process_time() - cpu
        stall = await turns.end()
        worker.runs = lambda _job: False
        each = (asking + drawing) / jobs
    mark = "  breaks" if stall * 1000 > TARGET_MS else ""
    return (
        f"{waiting:>10}{people:>10}{servers:>10}{asking / jobs * 1000:>10.1f}"
        f"{drawing / jobs * 1000:>10.1f}{stall * 1000:>10.0f}{1 / each:>10.0f}{mark}"
    )


def _origin(number: int, people: int, servers: int) -> Origin:
    user = number % people
    expires = datetime.now(UTC) + timedelta(minutes=15)
    return Origin(
        user_id=user,
        user_name="somebody",
        guild_id=10 + user % servers,
        channel_id=CHANNEL,
        interaction=InteractionToken(application_id=1, token=f"token-{number}", expires_at=expires),
    )


def main() -> int:
    """Print both tables; 1 where workers are in each other's way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2,4,8,16")
    parser.add_argument("--picture", type=float, default=2.0, help="seconds that one takes")
    parser.add_argument("--each", type=int, default=6, help="pictures for each worker")
    parser.add_argument("--waiting", default="100,1000,10000")
    parser.add_argument("--jobs", type=int, default=200, help="drawn of those that wait")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    enough = True
    if options.workers:
        counts = [int(part) for part in options.workers.split(",")]
        enough = asyncio.run(print_throughputs(counts, options.picture, options.each))
    if options.waiting:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(print_growth([int(n) for n in options.waiting.split(",")], options.jobs))
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
