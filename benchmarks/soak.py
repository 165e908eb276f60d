"""Whether anything grows over many jobs: memory, tasks, open files, what the worker remembers.

    python -m benchmarks.soak [--jobs 20000] [--every 1000] [--waiting 20]

Real jobs in a real SQLite file through the worker and an engine that needs no model, some of which
fail, hang on a broken engine or are cancelled. A line every so many jobs; the last compares the
second half with the first.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from generation import worker as worker_module
from generation.catalog import Catalog
from generation.engines.fake import FakeEngine
from generation.job import Job, Origin
from generation.messages import JobEvent
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from generation.worker import Worker
from generation.worker_pool import WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles

PEOPLE: Final = 50
FAILS_EVERY: Final = 50
BREAKS_EVERY: Final = 70
CANCELLED_EVERY: Final = 30
MODEL: Final = ModelFile(
    kind=ModelKind.CHECKPOINT, name="demo", path=Path("demo.safetensors"), family="sd1"
)
REQUEST: Final = GenerationRequest(
    prompt="a lighthouse at dusk",
    model="demo",
    width=64,
    height=64,
    steps=2,
    guidance_scale=7.0,
    sampler="Euler a",
    seed=0,
)


class OneModel(Catalog):
    """A catalogue that holds one model, wherever it lies."""

    def get(self, kind: ModelKind, name: str) -> ModelFile:
        """That model."""
        return MODEL


class Line(msgspec.Struct, frozen=True):
    """What there is of everything after so many jobs."""

    jobs: int
    rss: float
    """MiB."""
    objects: int
    tasks: int
    files: int
    waiting: int
    remembered: int
    """Entries of what the worker keeps by job."""


def main() -> int:
    """Run the jobs and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--waiting", type=int, default=20, help="jobs that wait at any time")
    options = parser.parse_args()
    worker_module.PAUSE_AFTER_FAULT = 0.0
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(soak(Path(folder), options.jobs, options.every, options.waiting))
    return 0


async def soak(folder: Path, jobs: int, every: int, waiting: int) -> None:
    """Ask for a new job whenever one has ended."""
    database = await open_database(sqlite_url(folder / "darkroom.sqlite3"))
    store = JobStore(database, PictureFiles(folder / "pictures"))
    engine = FakeEngine()
    workers = WorkerPool(store, OneModel([]), affinity=60.0)
    worker = workers.add("main", engine)
    room = asyncio.Semaphore(waiting)
    ended = 0
    lines: list[Line] = []
    done = asyncio.Event()

    def hear(job: Job, event: JobEvent | None) -> None:
        nonlocal ended
        if not job.ended:
            return
        ended += 1
        room.release()
        if ended % every == 0:
            lines.append(look(ended, workers, worker))
            print_line(lines[-1], began)
        if ended == jobs:
            done.set()

    workers.listen(hear)
    began = time.monotonic()
    print(
        f"{'jobs':>7}{'seconds':>9}{'RSS MiB':>9}{'objects':>9}{'tasks':>7}{'files':>7}"
        f"{'waiting':>9}{'remembered':>12}"
    )
    working = asyncio.create_task(workers.run())
    asking = asyncio.create_task(ask(store, workers, engine, room, jobs))
    await done.wait()
    await asking
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await store.close()
    await database.dispose()
    print_growth(lines)


async def ask(
    store: JobStore, workers: WorkerPool, engine: FakeEngine, room: asyncio.Semaphore, jobs: int
) -> None:
    """Ask for one job after the other, as soon as there is room for it."""
    for number in range(1, jobs + 1):
        await room.acquire()
        if number % FAILS_EVERY == 0:
            engine.failures.append("nan_pictures")
        elif number % BREAKS_EVERY == 0:
            engine.failures.append("worker_died")
        request = msgspec.structs.replace(REQUEST, seed=number)
        user = number % PEOPLE
        job = await store.add(request, Origin(user_id=user, user_name=f"person {user}"))
        workers.wake(job)
        if number % CANCELLED_EVERY == 0:
            cancelled = await store.cancel_waiting(job.id)
            if cancelled is not None:
                workers.tell(cancelled)
        await workers.plan(first=10, user_id=user)


def look(jobs: int, workers: WorkerPool, worker: Worker) -> Line:
    """Count everything."""
    gc.collect()
    process = psutil.Process()
    kept = [worker._faults, worker._unsure, worker._waiting._queue._costs]
    return Line(
        jobs=jobs,
        rss=process.memory_info().rss / 2**20,
        objects=len(gc.get_objects()),
        tasks=len(asyncio.all_tasks()),
        files=len(process.open_files()),
        waiting=workers.waiting,
        remembered=sum(map(len, kept)),
    )


def print_line(line: Line, began: float) -> None:
    """A line of the table."""
    print(
        f"{line.jobs:>7}{time.monotonic() - began:>9.0f}{line.rss:>9.1f}{line.objects:>9}"
        f"{line.tasks:>7}{line.files:>7}{line.waiting:>9}{line.remembered:>12}",
        flush=True,
    )


def print_growth(lines: list[Line]) -> None:
    """The highest of the second half by the highest of the first."""
    half = len(lines) // 2
    if not half:
        return
    columns = ("rss", "objects", "tasks", "files", "waiting", "remembered")
    ratios = (
        max(getattr(line, name) for line in lines[half:])
        / max(1, *(getattr(line, name) for line in lines[:half]))
        for name in columns
    )
    widths = (9, 9, 7, 7, 9, 12)
    print(
        f"{'ratio':>7}{'':>9}"
        + "".join(f"{r:>{w}.2f}" for r, w in zip(ratios, widths, strict=True))
    )


if __name__ == "__main__":
    sys.exit(main())
