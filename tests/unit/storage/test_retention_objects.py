"""What is old goes from an object store, too, and nothing that somebody needs."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta

import obstore
import pytest

from storage import picture_store
from storage.database import Database
from storage.picture_objects import PictureObjects
from storage.picture_store import ObjectStoreError
from storage.retention import RetentionSettings
from storage.store import Store
from tests import object_store
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_retention import GIB, NOW, Clock, delivered, is_kept

MONTH = RetentionSettings(pictures=30)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with object_store.running() as started:
        yield started


@pytest.fixture
def objects(address: str) -> PictureObjects:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    object_store.make_bucket(address, name)
    options = {**object_store.SECRETS, "endpoint": address}
    return PictureObjects(f"s3://{name}/below", options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, objects: PictureObjects, clock: Clock) -> Store:
    return Store(database, objects, now=clock)


async def there(objects: PictureObjects) -> set[str]:
    """The names of all objects."""
    listed = await objects._objects.list(objects._store).collect_async()
    return {each["path"].rpartition("/")[2] for each in listed}


async def test_old_pictures_go_and_what_others_name_stays(
    store: Store, objects: PictureObjects, clock: Clock
) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"old")
    starred = await delivered(store, b"starred")
    await store.history.set_favourite(2, starred.id, 0, True)
    same = await delivered(store, b"same")
    begun = await delivered(store, b"begun from")
    await obstore.put_async(objects._store, "notes.txt", b"somebody's own")
    clock.days_ago(1)
    younger = await delivered(store, b"same")
    file = await store.jobs.keep_upload(b"begun from")
    await store.jobs.add(a_request(init_picture=file, denoising_strength=0.5), an_origin(2))
    clock.now = NOW
    assert len(await there(objects)) == 5
    gone = await store.retention.keep_to(MONTH)
    assert gone.pictures == 3
    assert not await is_kept(store, old)
    for job in (starred, same, begun, younger):
        assert await is_kept(store, job)
    kept = {job.pictures[0].file for job in (starred, younger, begun)}
    assert await there(objects) == kept | {"notes.txt"}


async def test_requests_go_with_their_objects(
    store: Store, objects: PictureObjects, clock: Clock
) -> None:
    clock.days_ago(31)
    for number in range(3):
        await delivered(store, bytes([number]))
    clock.now = NOW
    assert (await store.retention.keep_to(RetentionSettings(prompts=30))).jobs == 3
    assert await there(objects) == set()


async def test_the_bound_counts_the_bytes_of_the_objects(
    store: Store, objects: PictureObjects, clock: Clock
) -> None:
    jobs = []
    for number in range(6):
        clock.days_ago(10 - number)
        jobs.append(await delivered(store, bytes([number]) * 1000))
    await store.history.set_favourite(1, jobs[1].id, 0, True)
    clock.now = NOW
    gone = await store.retention.keep_to(RetentionSettings(disk_gib=3500 / GIB))
    assert (gone.pictures, gone.too_much) == (3, 0)
    assert [await is_kept(store, job) for job in jobs] == [False, True, False, False, True, True]
    gone = await store.retention.keep_to(RetentionSettings(disk_gib=500 / GIB))
    assert (gone.pictures, gone.too_much) == (2, 500)
    assert await there(objects) == {jobs[1].pictures[0].file}


async def test_what_another_process_has_just_written_stays(
    store: Store, objects: PictureObjects, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may draw the same picture, and be about to name it."""
    objects._shared = True
    clock.days_ago(31)
    jobs = [await delivered(store, bytes([number])) for number in range(2)]
    clock.now = NOW
    monkeypatch.setattr(picture_store, "WRITTEN_BESIDE", 3600.0)
    assert (await store.retention.keep_to(RetentionSettings(prompts=30))).jobs == 2
    assert await there(objects) == {job.pictures[0].file for job in jobs}


async def test_what_another_writes_as_it_goes_is_written_again(
    store: Store, objects: PictureObjects, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process draws the same picture just while the old one is removed."""
    clock.days_ago(31)
    old = await delivered(store, b"same")
    clock.now = NOW
    begun, go, remove = asyncio.Event(), asyncio.Event(), objects._remove

    async def slow(files: list[str], since: float | None) -> object:
        begun.set()
        await go.wait()
        return await remove(files, since)

    monkeypatch.setattr(objects, "_remove", slow)
    going = asyncio.create_task(store.retention.keep_to(MONTH))
    await begun.wait()
    drawing = asyncio.create_task(delivered(store, b"same"))
    await asyncio.sleep(0.05)
    go.set()
    assert (await going).pictures == 1
    job = await drawing
    assert await is_kept(store, job)
    assert old.pictures[0].file == job.pictures[0].file


async def test_what_could_not_be_removed_is_removed_later(
    store: Store, objects: PictureObjects, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.days_ago(31)
    old = await delivered(store, b"old")
    clock.now = NOW

    async def away(files: list[str], since: float | None) -> object:
        raise ObjectStoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(objects, "_remove", away)
        with pytest.raises(ObjectStoreError):
            await store.retention.keep_to(MONTH)
    assert await there(objects) == {old.pictures[0].file}
    found = await store.jobs.get(old.id)
    assert found is not None
    assert found.pictures[0].removed
    # nothing names it: the daily sweep finds it
    monkeypatch.setattr(objects, "older_than", lambda _: objects._older_than(2**40))
    assert await store.personal.sweep(timedelta(0)) == 1
    assert await there(objects) == set()
