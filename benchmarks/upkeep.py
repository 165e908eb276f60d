"""What others notice while much is deleted, exported or swept.

    python -m benchmarks.upkeep [--jobs 50000] [--files 1000000]

Somebody with 50,000 jobs deletes everything while others ask; the pictures and then the requests of
50,000 old jobs go for their age; somebody exports; a folder of a million pictures is swept. Timed
is how long another's request waits to be written, and how long the event loop stands still, but for
what it waits for a processor that others have (as Linux counts it). The baselines, in the same run,
do it all at once: one transaction for all jobs, one list of all files, a commit for each of a
hundred requests.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import psutil
from sqlalchemy import delete

from benchmarks.history import GUILD, fill, percentile, request_of
from generation.job import Origin, PictureRecord
from storage.database import Database, open_database, sqlite_url
from storage.pictures import PictureFiles
from storage.retention import RetentionSettings
from storage.store import Store
from storage.tables import JobRow

ONE, OTHER, OLD, EXPORTER, ASKER = (10**18 + n for n in range(5))
WAIT_MS, STALL_MS = 100.0, 50.0
PICTURE = os.urandom(200_000)
EXPORTED = 400
BURST = 100
SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Watch:
    """How long others waited and the loop stood still, in ms, and the MiB that were gained."""

    def __init__(self) -> None:
        self.stalls: list[float] = []
        self.waits: list[float] = []
        self.memory = 0.0
        self.seconds = 0.0


@contextlib.asynccontextmanager
async def watching(store: Store | None = None) -> AsyncIterator[Watch]:
    """Tick every 5 ms while the block runs, and have somebody ask every 20 ms."""
    watch = Watch()
    process = psutil.Process()
    before = process.memory_info().rss
    tasks = [asyncio.create_task(_tick(watch, process, before))]
    if store is not None:
        tasks.append(asyncio.create_task(_ask(watch, store)))
    begun = time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - begun
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tick(watch: Watch, process: psutil.Process, before: int) -> None:
    while True:
        begun, queued = time.perf_counter(), _queued()
        await asyncio.sleep(0.005)
        late = time.perf_counter() - begun - 0.005 - (_queued() - queued)
        watch.stalls.append(max(0.0, late) * 1000)
        watch.memory = max(watch.memory, (process.memory_info().rss - before) / 2**20)


def _queued() -> float:
    """Seconds that this thread has waited for a processor; 0 where that is not counted."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


async def _ask(watch: Watch, store: Store) -> None:
    dice = random.Random(5)
    origin = Origin(user_id=ASKER, user_name="ada", guild_id=GUILD, channel_id=7)
    while True:
        request = request_of(dice)
        begun = time.perf_counter()
        await store.jobs.add(request, origin)
        watch.waits.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.02)


async def main() -> int:
    """Do each at once and a little at a time; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        file = folder / "upkeep.sqlite3"
        database = await open_database(sqlite_url(file))
        await asyncio.to_thread(
            fill, file, 3 * arguments.jobs, lambda dice: dice.choice((ONE, OTHER, OLD))
        )
        async with database.begin() as connection:
            await connection.exec_driver_sql(
                "UPDATE jobs SET state = 'finished', delivered_at = created_at, parent_id = NULL"
            )
        store = Store(database, PictureFiles(folder / "pictures"))
        # as the bot does once it has started
        gc.collect()
        gc.freeze()
        found = {
            "a hundred, a commit each": await measured(None, lambda: one_by_one(store)),
            "a hundred at once": await measured(None, lambda: at_once(store)),
            "nothing else": await measured(store, lambda: asyncio.sleep(10)),
            "delete, in one transaction": await measured(store, lambda: delete_all(database)),
            "delete": await measured(store, lambda: store.personal.delete(ONE)),
            "old pictures": await measured(store, lambda: let_go(store, pictures=1)),
            "old requests": await measured(store, lambda: let_go(store, prompts=1)),
        }
        await fill_export(store)
        found["export"] = await measured(store, lambda: export(store, folder))
        await asyncio.to_thread(make_files, folder / "many", arguments.files)
        many = Store(database, PictureFiles(folder / "many"))
        found["sweep, one list of all files"] = await measured(
            store, lambda: asyncio.to_thread(list_all, folder / "many")
        )
        found["sweep"] = await measured(store, lambda: many.personal.sweep(timedelta(days=1)))
        await database.dispose()
    return report(found)


async def measured(store: Store | None, work: Callable[[], Awaitable[object]]) -> Watch:
    """What others notice of some work."""
    async with watching(store) as watch:
        await work()
    return watch


def report(found: dict[str, Watch]) -> int:
    """The table; 1 where a target is missed."""
    print(
        f"{'what':<30}{'seconds':>9}{'write p50 ms':>14}{'p99':>9}{'max':>9}{'stall p99':>11}"
        f"{'max':>9}{'MiB':>7}"
    )
    for name, watch in found.items():
        waits = watch.waits
        columns = f"{'':>32}"
        if len(waits) > 1:
            columns = f"{percentile(waits, 50):>14.1f}{percentile(waits, 99):>9.1f}"
            columns += f"{max(waits):>9.1f}"
        print(
            f"{name:<30}{watch.seconds:>9.2f}{columns}{percentile(watch.stalls, 99):>11.1f}"
            f"{max(watch.stalls):>9.1f}{watch.memory:>7.0f}"
        )
    print()
    one, many = found["delete, in one transaction"], found["delete"]
    # whoever comes as it begins waits for all of it
    print(
        f"delete: the longest wait is {max(many.waits) / one.seconds / 1000:.3f} of one transaction"
    )
    one, many = found["a hundred, a commit each"], found["a hundred at once"]
    print(f"a hundred at once: {many.seconds / one.seconds:.3f} of the time of a commit each")
    one, many = found["sweep, one list of all files"], found["sweep"]
    print(
        f"sweep: {max(many.stalls) / max(one.stalls):.3f} of the stall and"
        f" {many.memory / max(one.memory, 1):.3f} of the memory of one list"
    )
    missed = [
        name
        for name in ("delete", "old pictures", "old requests", "export", "sweep")
        if percentile(found[name].waits, 99) > WAIT_MS or max(found[name].stalls) > STALL_MS
    ]
    verdict = f"missed by {', '.join(missed)}" if missed else "met"
    print(f"Targets (writes {WAIT_MS:.0f} ms at p99, stalls {STALL_MS:.0f} ms) are {verdict}.")
    idle = statistics.median(found["nothing else"].stalls)
    print(f"With nothing else to do a tick is {idle:.2f} ms late.")
    return int(bool(missed))


async def delete_all(database: Database) -> None:
    """As one would at first."""
    async with database.begin() as connection:
        await connection.execute(delete(JobRow).where(JobRow.user_id == OTHER))


async def let_go(store: Store, **days: int) -> None:
    """As the bot does once an hour."""
    gone = await store.retention.keep_to(RetentionSettings(**days))
    print(f"{gone.pictures} pictures, {gone.jobs} requests")


async def one_by_one(store: Store) -> None:
    """A hundred requests, each in a commit of its own, one after the other."""
    origin = Origin(user_id=ASKER, user_name="ada", guild_id=GUILD, channel_id=7)
    dice = random.Random(1)
    for _ in range(BURST):
        await store.jobs.add(request_of(dice), origin)


async def at_once(store: Store) -> None:
    """A hundred requests in the same instant."""
    origin = Origin(user_id=ASKER, user_name="ada", guild_id=GUILD, channel_id=7)
    dice = random.Random(1)
    await asyncio.gather(*(store.jobs.add(request_of(dice), origin) for _ in range(BURST)))


async def fill_export(store: Store) -> None:
    """Somebody with some hundred pictures."""
    origin = Origin(user_id=EXPORTER, user_name="bo", guild_id=GUILD, channel_id=7)
    record = PictureRecord(index=0, seed=1, width=64, height=64, file="", pixels_sha256="0" * 64)
    dice = random.Random(2)
    for number in range(EXPORTED):
        job = await store.jobs.add(request_of(dice), origin)
        await store.jobs.claim(job.id)
        await store.jobs.add_picture(job.id, record, number.to_bytes(4, "big") + PICTURE)


async def export(store: Store, folder: Path) -> None:
    """Every part is taken and removed."""
    async for part in store.personal.export(EXPORTER, folder, max_bytes=10 * 2**20):
        part.unlink()


def make_files(folder: Path, count: int) -> None:
    """Empty files with the names of pictures, all of them new."""
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True)
    for number in range(count):
        name = folder / f"{number % 256:02x}" / f"{number % 256:02x}{number:062x}.png"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))


def list_all(folder: Path) -> set[str]:
    """As one would at first."""
    moment = time.time() + 60
    return {file.stem for file in folder.glob("??/*.png") if file.stat().st_mtime < moment}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
