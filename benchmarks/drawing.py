"""What the product costs beside the drawing itself: `python -m benchmarks.drawing`.

The demo model draws on the processor in three processes, in turns: a warm job through the product,
the same recipe in a bare script that calls the runtime's functions, and diffusers' own pipeline.
Then jobs queue for the product's worker, and each of the three starts cold. Seconds are those of
the drawing process's own processor time, which other programs disturb least; the gap between two
queued jobs is time by the clock in which the child has nothing to do.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.bare_drawing import GUIDANCE, PROMPT
from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.job import Job, Origin
from generation.messages import Failed, Finished, Generate, JobEvent, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from generation.worker_pool import WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles

MODELS: Final = Path("models")
TARGETS: Final = {"product / bare": 1.05, "gap": 0.3, "cold": 1.15}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.drawing", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each warm measurement")
    parser.add_argument("--jobs", type=int, default=12, help="that queue for the worker")
    parser.add_argument("--starts", type=int, default=3, help="of each cold one")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--threads", type=int, default=1, help="of each process that draws")
    asyncio.run(_measure(parser.parse_args()))


def _request(arguments: argparse.Namespace, count: int, seed: int) -> GenerationRequest:
    return GenerationRequest(
        prompt=PROMPT,
        model="demo",
        width=arguments.side,
        height=arguments.side,
        steps=arguments.steps,
        guidance_scale=GUIDANCE,
        sampler="DPM++ 2M",
        seed=seed,
        count=count,
    )


async def _measure(arguments: argparse.Namespace) -> None:
    console = Console(width=100)
    console.print(
        f"{arguments.side} × {arguments.side}, {arguments.steps} steps; threads:"
        f" {arguments.threads}; load of the machine: {os.getloadavg()[0]:.1f}"
    )
    catalog = Catalog([MODELS])
    await catalog.scan()
    demo = catalog.get(ModelKind.CHECKPOINT, "demo")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        console.print(await _cold(arguments, demo, cache))
        async with _product(arguments, cache) as engine:
            console.print(await _warm(arguments, demo, engine))
            console.print(await _queued(arguments, catalog, engine, cache))


# one job after the other, warm


async def _warm(arguments: argparse.Namespace, demo: ModelFile, engine: ProcessEngine) -> Table:
    table = Table("", "product", "bare", "diffusers", "product / bare", "product / diffusers")
    table.title = "a warm job, CPU seconds (medians; ratios round by round)"
    async with _Child.of("bare", arguments) as bare, _Child.of("diffusers", arguments) as diffusers:
        for count in (1, 4):
            rows = []
            for round_ in range(arguments.rounds + 1):
                seed = 100 * round_
                row = (
                    await _drawn(engine, demo, _request(arguments, count, seed)),
                    await bare.draw(count, seed),
                    await diffusers.draw(count, seed),
                )
                # the first warms up
                rows += [row] if round_ else []
            seconds = [statistics.median(column) for column in zip(*rows, strict=True)]
            ratios = [statistics.median(row[0] / row[other] for row in rows) for other in (1, 2)]
            table.add_row(
                f"count {count}", *(f"{s:.3f}" for s in seconds), *(f"{r:.3f}" for r in ratios)
            )
    table.caption = f"product / bare is to be <= {TARGETS['product / bare']}"
    return table


async def _drawn(engine: ProcessEngine, demo: ModelFile, request: GenerationRequest) -> float:
    """CPU seconds of the product's child for one job."""
    await engine.start()
    child = _only_child_of_engine()
    begun = _cpu_seconds(child)
    async for event in engine.generate(Generate("1", request, demo)):
        if isinstance(event, Failed):
            raise SystemExit(f"{event.code}: {event.detail}")
    return _cpu_seconds(child) - begun


def _only_child_of_engine() -> psutil.Process:
    children = psutil.Process().children()
    return next(c for c in children if "generation.runtime" in c.cmdline())


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


# jobs that wait for each other


async def _queued(
    arguments: argparse.Namespace, catalog: Catalog, engine: ProcessEngine, folder: Path
) -> Table:
    database = await open_database(sqlite_url(folder / "jobs.sqlite3"))
    jobs = JobStore(database, PictureFiles(folder / "pictures"))
    workers = WorkerPool(jobs, catalog)
    workers.add("main", engine)
    ended: list[tuple[float, float]] = []
    all_ended = asyncio.Event()

    def hear(_job: Job, event: JobEvent | None) -> None:
        if isinstance(event, Finished):
            ended.append((time.monotonic(), event.seconds))
            if len(ended) == arguments.jobs:
                all_ended.set()

    workers.listen(hear)
    for seed in range(arguments.jobs):
        await jobs.add(_request(arguments, 1, seed), Origin(user_id=seed, user_name="x"))
    running = asyncio.create_task(workers.run())
    workers.wake()
    await all_ended.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await database.dispose()
    # by the clock, from one end to the next, without what the child says it worked
    gaps = [later[0] - earlier[0] - later[1] for earlier, later in itertools.pairwise(ended)]
    step = statistics.median(seconds for _, seconds in ended) / arguments.steps
    gap = statistics.median(gaps)
    table = Table("a step", "gap", "gap in steps", title="between two queued jobs, by the clock")
    table.add_row(f"{step * 1000:.1f} ms", f"{gap * 1000:.1f} ms", f"{gap / step:.2f}")
    table.caption = f"to be <= {TARGETS['gap']} of a step"
    return table


# from nothing to the first picture


async def _cold(arguments: argparse.Namespace, demo: ModelFile, cache: Path) -> Table:
    rows: list[tuple[float, ...]] = []
    for start in range(arguments.starts):
        fresh = cache / str(start)
        row = [await _cold_product(arguments, demo, fresh) for _ in range(2)]
        for kind in ("bare", "diffusers"):
            async with _Child.of(kind, arguments) as child:
                await child.draw(1, 7)
                row.append(_cpu_seconds(child.process))
        rows.append(tuple(row))
    table = Table(
        "the first start", "a later one", "bare", "diffusers", "first / diffusers", "later"
    )
    table.title = "from nothing to the first picture, CPU seconds (quickest of each)"
    best = [min(column) for column in zip(*rows, strict=True)]
    table.add_row(
        *(f"{s:.2f}" for s in best), *(f"{best[place] / best[3]:.2f}" for place in (0, 1))
    )
    table.caption = f"to be <= {TARGETS['cold']}"
    return table


async def _cold_product(arguments: argparse.Namespace, demo: ModelFile, cache: Path) -> float:
    async with _product(arguments, cache) as engine:
        await _drawn(engine, demo, _request(arguments, 1, 7))
        return _cpu_seconds(_only_child_of_engine())


@contextlib.asynccontextmanager
async def _product(arguments: argparse.Namespace, cache: Path) -> AsyncIterator[ProcessEngine]:
    engine = ProcessEngine(
        RuntimeSettings(device="cpu", cpu_threads=arguments.threads), cache=cache
    )
    try:
        yield engine
    finally:
        await engine.stop()


# the bare processes


class _Child:
    """A process of `benchmarks.bare_drawing`, which draws when a line tells it to."""

    def __init__(self, pipes: asyncio.subprocess.Process) -> None:
        self.process = psutil.Process(pipes.pid)
        self._pipes = pipes

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, kind: str, arguments: argparse.Namespace) -> AsyncIterator["_Child"]:
        options = {name: getattr(arguments, name) for name in ("steps", "side", "threads")}
        given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        pipes = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bare_drawing", kind, *given),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"},
        )
        try:
            yield cls(pipes)
        finally:
            assert pipes.stdin is not None
            pipes.stdin.close()
            await pipes.wait()

    async def draw(self, count: int, seed: int) -> float:
        """CPU seconds of that."""
        begun = _cpu_seconds(self.process)
        stdin, stdout = self._pipes.stdin, self._pipes.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{count} {seed}\n".encode())
        while (line := await stdout.readline()) != b"drawn\n":
            if not line:
                raise SystemExit("a bare process died")
        return _cpu_seconds(self.process) - begun


if __name__ == "__main__":
    main()
