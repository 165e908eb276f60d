"""Deleting and taking along, a little at a time beside what others do."""

import asyncio
import contextlib
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from generation.job import Job
from generation.refusal import Refused
from storage import export, personal_data
from storage.database import Database
from storage.drafts import Draft
from storage.history import Query
from storage.picture_store import PictureMissingError
from storage.pictures import PictureFiles
from storage.store import Store
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture


async def drawn(store: Store, user: int = 1, png: bytes = b"png", **changes: Any) -> Job:
    """A finished job with one picture."""
    job = await store.jobs.add(a_request(**changes), an_origin(user))
    await store.jobs.claim(job.id)
    await store.jobs.add_picture(job.id, a_picture(), png)
    return await store.jobs.finish(job.id, MAKING)


class Stopped(BaseException):
    """The process ends here."""


async def half_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Five jobs of a person of which a deletion that was stopped has taken two."""
    monkeypatch.setattr(personal_data, "CHUNK", 2)
    jobs = [await drawn(store, png=bytes([n]), prompt=f"fox {n}") for n in range(5)]
    for job in jobs:
        await store.jobs.add_message(100 + job.id, 7, job.id, "result")
    await store.history.set_favourite(1, jobs[4].id, 0, True)
    with monkeypatch.context() as patch:

        async def stop(*_args: object) -> int:
            raise Stopped

        patch.setattr(store.personal, "remove_unused", stop)
        with pytest.raises(Stopped):
            await store.personal.delete(1)
    return jobs


async def test_nothing_is_seen_of_a_deletion_that_was_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs = await half_deleted(store, monkeypatch)
    for query in (Query(), Query(search="fox"), Query(favourites=True)):
        assert (await store.history.page(1, query)).jobs == ()
    assert await store.history.models(1) == []
    for job in jobs:
        assert await store.jobs.get(job.id) is None
        assert await store.jobs.shown_by(100 + job.id) is None
        assert await store.history.tree(job.id) == []
    assert await store.jobs.undelivered() == []
    (part,) = [p async for p in store.personal.export(1, tmp_path, max_bytes=100_000)]
    with zipfile.ZipFile(part) as archive:
        assert json.loads(archive.read("jobs.json")) == []
        assert not any(name.endswith(".png") for name in archive.namelist())
    # what comes afterwards is not of it
    later = await drawn(store, prompt="another fox")
    page = await store.history.page(1, Query(search="fox"))
    assert [job.id for job in page.jobs] == [later.id]


async def test_a_deletion_that_was_stopped_goes_on_at_the_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs = await half_deleted(store, monkeypatch)
    later = await drawn(store, png=b"later")
    deleted = await store.personal.resume()
    assert (deleted.jobs, deleted.pictures) == (3, 3)
    # the messages of all, also of those that were deleted before the stop
    everything = [(7, 100 + job.id) for job in jobs]
    assert sorted(await store.jobs.to_take_back()) == everything
    for _, message in everything:
        await store.jobs.taken_back(message)
    assert await store.jobs.to_take_back() == []
    assert await store.jobs.get(later.id) is not None
    assert not await store.history.is_favourite(1, jobs[4].id, 0)
    assert (await store.personal.resume()).jobs == 0
    # the files of the two go with the next sweep
    assert await store.personal.sweep(timedelta(seconds=-1)) == 2
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 1


async def test_a_deletion_that_was_stopped_goes_on_when_it_is_asked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await half_deleted(store, monkeypatch)
    await drawn(store, png=b"later")
    assert (await store.personal.delete(1)).jobs == 4
    assert (await store.personal.delete(1)).jobs == 0


async def test_others_write_while_a_deletion_goes_on(
    store: Store, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two transactions of it, whoever waits has their turn."""
    monkeypatch.setattr(personal_data, "CHUNK", 1)
    for n in range(6):
        await drawn(store, png=bytes([n]))
    statements.clear()

    async def ask() -> None:
        for _ in range(4):
            await store.jobs.add(a_request(), an_origin(2))

    await asyncio.gather(store.personal.delete(1), ask())
    ours = ("DELETE FROM jobs", "INSERT INTO jobs ")
    written = [
        "delete" if statement.startswith("DELETE") else "add"
        for statement in statements
        if statement.startswith(ours)
    ]
    assert written.count("delete") == 6
    assert written.index("add") < 3
    assert "delete" in written[written.index("add") :]


async def test_a_file_that_somebody_has_just_handed_in_stays(store: Store) -> None:
    job = await drawn(store, png=b"shared")
    file = job.pictures[0].file
    # the same picture as a start of what another is about to ask for
    assert await store.jobs.keep_upload(b"shared") == file
    await store.personal.delete_job(job.id)
    assert await store.jobs.read_upload(file) == b"shared"
    assert await store.personal.sweep(timedelta(hours=1)) == 0
    theirs = await store.jobs.add(a_request(init_picture=file), an_origin(2))
    assert await store.personal.sweep(timedelta(seconds=-1)) == 0
    await store.jobs.cancel_waiting(theirs.id)
    await store.personal.delete_job(theirs.id)
    # handed in within the last second no more
    assert await store.personal.sweep(timedelta(seconds=-1)) <= 1
    with pytest.raises(Refused, match="picture_gone"):
        await store.jobs.read_upload(file)


async def test_a_file_that_is_written_while_another_job_goes_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two jobs with the same picture: one is deleted while the other's is recorded."""
    mine = await drawn(store, png=b"same")
    other = await store.jobs.add(a_request(), an_origin(2))
    await store.jobs.claim(other.id)
    files = store.personal._files
    removing = files.removing

    @contextlib.contextmanager
    def slow() -> Any:
        with removing() as removal:
            remove = removal.remove

            async def after_the_other(unused: Any) -> Sequence[str]:
                await store.jobs.add_picture(other.id, a_picture(), b"same")
                return await remove(unused)

            removal.remove = after_the_other  # type: ignore[method-assign,assignment]
            yield removal

    monkeypatch.setattr(files, "removing", slow)
    await store.personal.delete_job(mine.id)
    found = await store.jobs.get(other.id)
    assert found is not None
    assert await store.jobs.read_picture(found.pictures[0]) == b"same"


async def test_uploads_are_noted_with_their_jobs(store: Store, database: Database) -> None:
    first, second = [await store.jobs.keep_upload(bytes([n])) for n in range(2)]
    controls = [{"name": "edges", "picture": file} for file in (first, second)]
    job = await store.jobs.add(a_request(init_picture=first, controls=controls), an_origin())
    async with database.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT job_id, file FROM uploads")
        assert set(map(tuple, rows.all())) == {(job.id, first), (job.id, second)}


async def test_an_export_is_never_whole_in_its_folder(store: Store, tmp_path: Path) -> None:
    for number in range(8):
        await drawn(store, png=bytes([number]) * 5000)
    parts = 0
    async for part in store.personal.export(1, tmp_path, max_bytes=13_000):
        parts += 1
        assert len(list(tmp_path.glob("*.zip"))) == 1  # the next is not begun yet
        with zipfile.ZipFile(part) as archive:
            assert archive.testzip() is None
        part.unlink()
    assert parts > 3


async def test_pages_of_jobs_make_one_list(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    uploads = [await store.jobs.keep_upload(bytes([9, n % 2])) for n in range(5)]
    for n, file in enumerate(uploads):
        await drawn(store, png=bytes([n]), init_picture=file)
    (part,) = [p async for p in store.personal.export(1, tmp_path, max_bytes=1_000_000)]
    with zipfile.ZipFile(part) as archive:
        names = archive.namelist()
        assert [job["id"] for job in json.loads(archive.read("jobs.json"))] == [1, 2, 3, 4, 5]
    assert sorted(name for name in names if name.startswith("uploads/")) == sorted(
        f"uploads/{file}.png" for file in set(uploads)
    )
    assert len(names) == len(set(names)) == 6 + 5 + 2


async def test_few_exports_are_made_at_once(store: Store, tmp_path: Path) -> None:
    folders = [tmp_path / str(user) for user in range(1, 5)]
    for user, folder in enumerate(folders, 1):
        folder.mkdir()
        await drawn(store, user=user)

    def exporting(user: int) -> Any:
        return store.personal.export(user, folders[user - 1], max_bytes=100_000)

    async with contextlib.aclosing(exporting(1)) as first, contextlib.aclosing(exporting(2)):
        assert await anext(first)
        with pytest.raises(Refused, match="exports_busy"):
            await anext(exporting(1))  # one's own, already
        second = exporting(2)
        await anext(second)
        with pytest.raises(Refused, match="exports_busy"):
            await anext(exporting(3))
        await second.aclose()
        assert len([part async for part in exporting(3)]) == 1
    assert len([part async for part in exporting(1)]) == 1


async def test_a_picture_that_is_broken_is_left_out_of_an_export(
    store: Store, tmp_path: Path
) -> None:
    job, whole = await drawn(store, png=b"broken"), await drawn(store, png=b"whole")
    files = PictureFiles(tmp_path / "pictures")
    files.path(job.pictures[0].file).write_bytes(b"brok")
    with pytest.raises(PictureMissingError):
        await store.jobs.read_picture(job.pictures[0])
    (part,) = [p async for p in store.personal.export(1, tmp_path, max_bytes=100_000)]
    with zipfile.ZipFile(part) as archive:
        made = [name for name in archive.namelist() if name.endswith(".png")]
    assert made == [f"pictures/{whole.id:06}-1-7.png"]


async def test_every_message_of_a_deleted_job_is_known_with_who_had_asked(store: Store) -> None:
    job, other = await drawn(store, user=1), await drawn(store, user=2)
    for number, kind in enumerate(("progress", "result", "sent", "picture"), 70):
        await store.jobs.add_message(number, 7, job.id, kind)
    await store.jobs.add_message(90, 7, other.id, "result")
    deleted = await store.personal.delete_job(job.id)
    assert sorted(deleted.messages) == [(7, 70), (7, 71), (7, 72), (7, 73)]
    assert sorted(await store.jobs.to_take_back()) == sorted(deleted.messages)
    assert [await store.jobs.had_asked(number) for number in (70, 73, 90)] == [1, 1, None]
    await store.jobs.taken_back(70)
    assert await store.jobs.had_asked(70) is None


@pytest.mark.parametrize("ahead", [timedelta(hours=20), timedelta(days=30), -timedelta(hours=20)])
async def test_ages_go_by_the_stores_clock_when_the_machines_is_wrong(
    database: Database, tmp_path: Path, ahead: timedelta
) -> None:
    moment = datetime.now(UTC) - ahead
    store = Store(database, PictureFiles(tmp_path / "pictures"), now=lambda: moment)
    begun = moment
    recent, older = await drawn(store, user=1), await drawn(store, user=2)
    draft = await store.drafts.keep(1, Draft(name="imagine"))
    moment += timedelta(hours=5)
    await store.personal.delete_job(recent.id)
    since = begun - timedelta(hours=1)
    await store.personal.sweep(timedelta(hours=6))
    assert await store.usage.pictures_since(1, recent.origin.guild_id, since) == [
        (recent.created_at, 1)
    ]
    assert await store.drafts.get(1, draft) is not None
    moment += timedelta(hours=20)
    await store.personal.delete(2)
    assert await store.usage.pictures_since(2, older.origin.guild_id, since) == []
    await store.personal.sweep(timedelta(hours=6))
    assert await store.usage.pictures_since(1, recent.origin.guild_id, since) == []
    moment += timedelta(days=7)
    await store.personal.sweep(timedelta(hours=6))
    assert await store.drafts.get(1, draft) is None
