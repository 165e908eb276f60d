"""What the owner is told of all jobs, from a real SQLite file."""

from datetime import UTC, datetime, timedelta

import msgspec

from generation.job import Failure, JobState
from storage.statistics import ModelTimes, Statistics
from storage.store import Store
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING

AGES_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def drawn(store: Store, seconds: float, memory_peak: int = 0, **changes: object) -> None:
    """A finished job that took so many seconds, a half of one to load."""
    job = await store.jobs.add(a_request(**changes), an_origin())
    assert await store.jobs.claim(job.id) is not None
    provenance = msgspec.structs.replace(
        MAKING, seconds=seconds + 0.5, seconds_loading=0.5, memory_peak=memory_peak
    )
    await store.jobs.finish(job.id, provenance)


async def test_a_new_bot_has_nothing_to_tell(store: Store) -> None:
    assert await store.statistics.since(AGES_AGO) == Statistics({}, {}, (), 0)


async def test_jobs_are_counted_by_what_became_of_them(store: Store) -> None:
    await drawn(store, 1.0)
    await drawn(store, 1.0)
    waiting = await store.jobs.add(a_request(), an_origin())
    await store.jobs.fail(waiting.id, Failure("out_of_memory"))
    dropped = await store.jobs.add(a_request(), an_origin())
    await store.jobs.cancel_waiting(dropped.id)
    await store.jobs.add(a_request(), an_origin())
    counts = {
        JobState.FINISHED: 2,
        JobState.FAILED: 1,
        JobState.CANCELLED: 1,
        JobState.QUEUED: 1,
    }
    found = await store.statistics.since(AGES_AGO)
    assert (found.total, found.recent) == (counts, counts)
    later = await store.statistics.since(datetime.now(UTC) + timedelta(minutes=1))
    assert (later.total, later.recent) == (counts, {})


async def test_times_are_a_pictures_by_model_without_the_loading(store: Store) -> None:
    for seconds in range(1, 21):
        await drawn(store, float(seconds))
    await drawn(store, 8.0, count=4, model="other", memory_peak=500)
    await drawn(store, 2.0, model="other", memory_peak=300)
    found = await store.statistics.since(AGES_AGO)
    assert found.times == (
        ModelTimes("demo", pictures=20, median=10.5, p95=19.0),
        ModelTimes("other", pictures=5, median=2.0, p95=2.0),
    )
    assert found.memory_peak == 500
