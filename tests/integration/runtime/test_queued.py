"""Jobs that follow each other through the real worker process, one of them handed ahead."""

import asyncio
import contextlib
from pathlib import Path

import psutil
import pytest

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.job import Job, JobState
from generation.messages import Finished, JobEvent, Picture, RuntimeSettings
from generation.worker_pool import WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures import models
from tests.fixtures.requests import an_origin
from tests.integration.runtime.bench import Bench, small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SETTINGS = RuntimeSettings(device="cpu", preview_every=0, cpu_threads=1)
COUNT = 8


async def test_each_is_drawn_as_if_alone_whatever_befalls_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is cancelled once it was handed ahead; the process is killed with another ahead."""
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 0.01)
    models.tiny_stable_diffusion(tmp_path / "models" / "diffusers" / "tiny")
    catalog = Catalog([tmp_path / "models"])
    await catalog.scan()
    engine = ProcessEngine(SETTINGS, cache=tmp_path / "cache")
    bench = Bench(engine, catalog, tmp_path)
    alone = [(await bench.make(seed=seed, steps=8)).pixels for seed in range(COUNT)]
    database = await open_database(sqlite_url(tmp_path / "jobs.sqlite3"))
    jobs = JobStore(database, PictureFiles(tmp_path / "pictures"))
    worker = WorkerPool(jobs, catalog)
    worker.add("main", engine)
    numbers = [
        (await jobs.add(small(model="tiny", seed=seed, steps=8), an_origin(1))).id
        for seed in range(COUNT)
    ]
    unwanted, killed_before = numbers[2], numbers[5]
    told: list[tuple[int, JobEvent | None]] = []
    ended, cancelling, killed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def hear(job: Job, event: JobEvent | None) -> None:
        told.append((job.id, event))
        ahead = engine._child.ahead if engine._child is not None else None
        if ahead == str(unwanted):
            cancelling.set()
        if ahead == str(killed_before) and not killed.is_set():
            killed.set()
            for child in psutil.Process().children():
                child.kill()
        if job.id == numbers[-1] and job.ended:
            ended.set()

    async def cancel() -> None:
        await cancelling.wait()
        cancelled = await jobs.cancel_waiting(unwanted)
        assert cancelled is not None
        worker.tell(cancelled)

    worker.listen(hear)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(cancel(), 120)
    await asyncio.wait_for(ended.wait(), 200)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await engine.stop()
    found = [await jobs.get(number) for number in numbers]
    await database.dispose()
    for job, pixels in zip(found, alone, strict=True):
        assert job is not None
        if job.id == unwanted:
            assert (job.state, job.attempts) == (JobState.CANCELLED, 0)
            assert all(event is None for number, event in told if number == unwanted)
            continue
        assert job.state is JobState.FINISHED
        assert [picture.pixels_sha256 for picture in job.pictures] == pixels
        # it broke under one of two, and both may have been begun by then
        assert job.attempts == 1 or job.id in (killed_before - 1, killed_before)
    pictures = [number for number, event in told if isinstance(event, Picture)]
    assert sorted(set(pictures)) == [number for number in numbers if number != unwanted]
    assert sum(isinstance(event, Finished) for _, event in told) == COUNT - 1
