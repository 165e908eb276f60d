"""The store on a real SQLite file."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from generation.description import Description, SeenTag
from generation.job import (
    TRIES_AFTER_RESTART,
    Failure,
    IllegalTransitionError,
    Job,
    JobState,
    PictureRecord,
    Provenance,
)
from generation.refusal import Refused
from generation.request_parts import LoraUse
from storage.database import open_database
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.requests import a_request, an_origin

MAKING = Provenance(
    seconds=1.5,
    seconds_loading=0.5,
    batch_size=2,
    memory_peak=0,
    hashes={"checkpoint:demo": "ab" * 32},
    versions={"torch": "2"},
    device="a CPU",
)


def a_picture(index: int = 0) -> PictureRecord:
    return PictureRecord(
        index=index, seed=7 + index, width=128, height=128, file="", pixels_sha256="cd" * 32
    )


async def running(jobs: JobStore) -> Job:
    job = await jobs.add(a_request(), an_origin())
    claimed = await jobs.claim(job.id)
    assert claimed is not None
    return claimed


async def test_what_was_added_comes_back_whole(jobs: JobStore) -> None:
    request = a_request(loras=[{"name": "pixel", "weight": 0.5}], count=3)
    parent = await jobs.add(a_request(), an_origin())
    added = await jobs.add(request, an_origin(private=True), action="reroll", parent=parent.id)
    found = await jobs.get(added.id)
    assert found == added
    assert found is not None
    assert found.request.loras == (LoraUse(name="pixel", weight=0.5),)
    assert found.parent == parent.id
    assert found.origin.private


@pytest.mark.sqlite
async def test_it_is_on_disk_before_add_returns(jobs: JobStore, tmp_path: Path) -> None:
    job = await jobs.add(a_request(), an_origin())
    with sqlite3.connect(tmp_path / "test.sqlite3") as other:
        rows = other.execute("SELECT id, state FROM jobs").fetchall()
        mode = other.execute("PRAGMA journal_mode").fetchone()
    other.close()
    assert rows == [(job.id, "queued")]
    assert mode == ("wal",)


async def test_two_workers_never_claim_the_same_job(jobs: JobStore) -> None:
    job = await jobs.add(a_request(), an_origin())
    claims = await asyncio.gather(*(jobs.claim(job.id) for _ in range(5)))
    assert [claim.state for claim in claims if claim is not None] == [JobState.RUNNING]


async def test_a_finished_job_has_its_pictures_in_order(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.add_picture(job.id, a_picture(1), b"second")
    await jobs.add_picture(job.id, a_picture(0), b"first")
    finished = await jobs.finish(job.id, MAKING)
    assert finished.state is JobState.FINISHED
    assert finished.provenance == MAKING
    assert [await jobs.read_picture(picture) for picture in finished.pictures] == [
        b"first",
        b"second",
    ]


async def test_what_was_seen_is_kept_until_it_is_looked_at_again(jobs: JobStore) -> None:
    job = await running(jobs)
    seen = Description(tags=(SeenTag("red_hair", 0.9),), ratings={"general": 1.0}, caption="A.")
    await jobs.add_description(job.id, seen)
    finished = await jobs.finish(job.id, MAKING)
    assert finished.description == seen
    assert await jobs.get(job.id) == finished
    again = await running(jobs)
    await jobs.add_description(again.id, seen)
    assert (await jobs.requeue(again.id)).description is None
    # nobody listens any more: what comes too late is not kept
    await jobs.add_description(again.id, seen)
    found = await jobs.get(again.id)
    assert found is not None
    assert found.description is None


async def test_a_picture_made_again_replaces_the_first(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.add_picture(job.id, a_picture(), b"before the crash")
    await jobs.add_picture(job.id, a_picture(), b"after it")
    found = await jobs.get(job.id)
    assert found is not None
    assert [await jobs.read_picture(picture) for picture in found.pictures] == [b"after it"]


async def test_states_only_move_as_the_table_says(jobs: JobStore) -> None:
    job = await jobs.add(a_request(), an_origin())
    with pytest.raises(IllegalTransitionError):
        await jobs.finish(job.id, MAKING)
    await jobs.claim(job.id)
    await jobs.finish(job.id, MAKING)
    for attempt in (jobs.requeue(job.id), jobs.fail(job.id, Failure("out_of_memory"))):
        with pytest.raises(IllegalTransitionError):
            await attempt
    found = await jobs.get(job.id)
    assert found is not None
    assert found.state is JobState.FINISHED


async def test_a_waiting_job_can_be_cancelled_and_a_running_one_not(jobs: JobStore) -> None:
    waiting = await jobs.add(a_request(), an_origin())
    busy = await running(jobs)
    cancelled = await jobs.cancel_waiting(waiting.id)
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    assert await jobs.cancel_waiting(busy.id) is None
    assert await jobs.claim(waiting.id) is None


async def test_failed_and_cancelled_are_told_apart(jobs: JobStore) -> None:
    failed = await jobs.fail((await running(jobs)).id, Failure("model_broken", {"file": "x"}))
    cancelled = await jobs.fail((await running(jobs)).id, Failure("cancelled"))
    assert (failed.state, cancelled.state) == (JobState.FAILED, JobState.CANCELLED)
    assert failed.failure == Failure("model_broken", {"file": "x"})


async def test_recover_queues_what_ran_and_gives_up_in_the_end(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.begin(job.id)
    await jobs.add_picture(job.id, a_picture(), b"half a job")
    for _ in range(TRIES_AFTER_RESTART - 1):
        [recovered] = await jobs.recover()
        assert recovered.state is JobState.QUEUED
        assert recovered.pictures == ()
        await jobs.claim(job.id)
        await jobs.begin(job.id)
    [recovered] = await jobs.recover()
    assert recovered.state is JobState.FAILED
    assert recovered.failure == Failure("interrupted_too_often")
    assert await jobs.recover() == []


async def test_only_what_was_begun_counts_as_a_try(jobs: JobStore) -> None:
    job = await running(jobs)
    for _ in range(TRIES_AFTER_RESTART * 2):
        [recovered] = await jobs.recover()
        assert (recovered.state, recovered.attempts) == (JobState.QUEUED, 0)
        await jobs.claim(job.id)
    await jobs.begin(job.id)
    assert (await jobs.requeue(job.id)).attempts == 1
    await jobs.begin(job.id)  # it waits: nothing of it is drawn
    claimed = await jobs.claim(job.id)
    assert claimed is not None
    assert claimed.attempts == 1
    await jobs.begin(job.id)
    assert (await jobs.requeue(job.id, attempts=1)).attempts == 1


async def test_ended_jobs_are_undelivered_until_marked(jobs: JobStore) -> None:
    ended = await jobs.fail((await running(jobs)).id, Failure("out_of_memory"))
    await jobs.add(a_request(), an_origin())
    assert [job.id for job in await jobs.undelivered()] == [ended.id]
    await jobs.mark_delivered(ended.id)
    assert await jobs.undelivered() == []
    first = await jobs.get(ended.id)
    await jobs.mark_delivered(ended.id)  # noted again after an error: the first time holds
    assert await jobs.get(ended.id) == first


async def test_waiting_is_counted_by_person(jobs: JobStore) -> None:
    await jobs.add(a_request(), an_origin(1))
    await running(jobs)
    await jobs.add(a_request(), an_origin(2))
    await jobs.fail((await running(jobs)).id, Failure("cancelled"))
    assert await jobs.count_waiting(1) == 2
    assert await jobs.count_waiting(2) == 1


async def test_a_message_leads_to_its_job(jobs: JobStore) -> None:
    job = await jobs.add(a_request(), an_origin())
    await jobs.add_message(2**62, 100, job.id, "progress")
    await jobs.add_message(2**62, 100, job.id, "result")
    assert await jobs.shown_by(2**62) == (job, None)
    assert await jobs.messages_of(job.id, "result") == [(100, 2**62)]
    assert await jobs.messages_of(job.id, "progress") == []
    assert await jobs.shown_by(3) is None
    await jobs.add_message(4, 100, job.id, "picture", position=2)
    assert await jobs.shown_by(4) == (job, 2)


async def test_uploads_are_kept_by_content(jobs: JobStore, tmp_path: Path) -> None:
    first, second = await jobs.keep_upload(b"a picture"), await jobs.keep_upload(b"a picture")
    assert first == second
    assert await jobs.read_upload(first) == b"a picture"
    with pytest.raises(Refused, match="picture_gone"):
        await jobs.read_upload("0" * 64)
    assert len(list((tmp_path / "pictures").rglob("*.*"))) == 1


async def test_everything_is_there_after_a_restart(
    jobs: JobStore, url: str, tmp_path: Path
) -> None:
    job = await jobs.add(a_request(prompt="灯台 💡"), an_origin())
    database = await open_database(url)
    again = JobStore(database, PictureFiles(tmp_path / "pictures"))
    assert await again.get(job.id) == job
    await database.dispose()


async def test_who_is_cancelled_in_a_query_hears_of_that_and_of_no_broken_database(
    jobs: JobStore,
) -> None:
    for steps in range(12):
        task = asyncio.create_task(jobs.waiting())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await task == []
