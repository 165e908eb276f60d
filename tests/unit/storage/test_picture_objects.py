"""Pictures in an object store: as in a folder, over S3's own protocol."""

import asyncio
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import obstore
import pytest

from bot.config import Config, StorageSettings
from bot.storage_folder import StartError, open_store
from storage import picture_store
from storage.errors import PicturesAwayError, trouble
from storage.picture_objects import PictureObjects
from storage.picture_store import ObjectStoreError, PictureBrokenError, PictureMissingError
from storage.pictures import PictureFiles
from tests import object_store
from tests.fixtures.requests import a_request, an_origin


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with object_store.running() as started:
        yield started


@pytest.fixture
def bucket(address: str) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    object_store.make_bucket(address, name)
    return f"s3://{name}/below/this"


@pytest.fixture
def options(address: str) -> dict[str, str]:
    return {**object_store.SECRETS, "endpoint": address}


@pytest.fixture
def objects(bucket: str, options: dict[str, str]) -> PictureObjects:
    return PictureObjects(bucket, options)


async def test_what_is_written_is_read(objects: PictureObjects) -> None:
    await objects.check()
    data = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
    file = await objects.write(data)
    assert file == hashlib.sha256(data).hexdigest()
    assert await objects.write(data) == file
    assert await objects.read(file) == data
    assert await objects.head(file, 8) == data[:8]
    assert await objects.head(file, 10**6) == data
    for read in (objects.read("ab" * 32), objects.head("ab" * 32, 5), objects.read("../../x")):
        with pytest.raises(PictureMissingError):
            await read


async def test_what_is_no_longer_whole_is_said(objects: PictureObjects) -> None:
    file = await objects.write(b"a picture")
    await obstore.put_async(objects._store, f"{file[:2]}/{file}", b"another")
    with pytest.raises(PictureBrokenError):
        await objects.read(file)
    await objects.write(b"a picture")
    assert await objects.read(file) == b"a picture"


async def test_the_unused_are_found_and_removed(objects: PictureObjects) -> None:
    files = {await objects.write(bytes([n])) for n in range(5)}
    await obstore.put_async(objects._store, "notes.txt", b"somebody's own")
    assert [f async for some in objects.older_than(timedelta(hours=1)) for f in some] == []
    found = [f async for some in objects.older_than(timedelta(hours=-1)) for f in some]
    assert set(found) == files
    first, *others = sorted(files)
    with objects.removing() as removal:
        async with objects.keeping(bytes([0])) as kept:
            assert len(await removal.remove([*files, "ab" * 32])) == len(files)  # one is not there
    left = [f async for some in objects.older_than(timedelta(hours=-1)) for f in some]
    assert left == [kept]
    assert {first, *others} >= {kept}


@pytest.mark.parametrize("kind", ["folder", "objects"])
async def test_what_another_process_has_just_written_stays(
    bucket: str,
    options: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """It may be about to name the same picture in the database."""
    files = (
        PictureFiles(tmp_path, shared=True)
        if kind == "folder"
        else PictureObjects(bucket, options, shared=True)
    )
    file = await files.write(b"a picture")
    with files.removing() as removal:
        pass
    assert len(await removal.remove([file])) == 0
    assert await files.read(file) == b"a picture"
    monkeypatch.setattr(picture_store, "WRITTEN_BESIDE", -5.0)
    assert len(await removal.remove([file])) == 1
    with pytest.raises(PictureMissingError):
        await files.read(file)


async def test_whoever_writes_what_is_being_removed_has_it_afterwards(
    objects: PictureObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await objects.write(b"a picture")
    begun, go, remove = asyncio.Event(), asyncio.Event(), objects._remove

    async def slow(files: list[str], since: float | None) -> Sequence[str]:
        begun.set()
        await go.wait()
        return await remove(files, since)

    monkeypatch.setattr(objects, "_remove", slow)
    with objects.removing() as removal:
        removing = asyncio.create_task(removal.remove([file]))
        await begun.wait()
        writing = asyncio.create_task(objects.write(b"a picture"))
        await asyncio.sleep(0.05)
        assert not writing.done()
        go.set()
        assert await removing == [file]
        assert await writing == file
    assert await objects.read(file) == b"a picture"


async def test_a_store_that_is_away_is_waited_for(
    options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that was drawn is kept until the store is there again, as with a full disk."""
    monkeypatch.setattr("storage.picture_objects.RETRIES", 0)
    away = PictureObjects("s3://bucket", {**options, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ObjectStoreError) as caught:
        await away.write(b"a picture")
    assert trouble(caught.value) == "disk_unwritable"
    assert "\n" not in str(caught.value)
    reads = (away.read("ab" * 32), away.head("ab" * 32, 5), away.sizes_of(["ab" * 32]))
    for read in reads:
        with pytest.raises(PicturesAwayError) as unread:
            await read
        assert trouble(unread.value) == "database_busy"


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("s3://", {}),
        ("nowhere://bucket", {}),
        ("s3://bucket", {"no_such_option": "x"}),
        ("s3://bucket", {"endpoint": "http://127.0.0.1:9", "skip_signature": "true"}),
    ],
)
async def test_what_can_not_be_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, options: dict[str, str]
) -> None:
    monkeypatch.setattr("storage.picture_objects.RETRIES", 0)
    storage = StorageSettings(folder=tmp_path, pictures=address, picture_options=options)
    with pytest.raises(StartError, match="picture_options") as caught:
        async with open_store(Config(file=tmp_path / "c.toml", storage=storage)):
            pass
    assert str(caught.value).startswith(address)


async def test_a_bot_keeps_its_pictures_there(
    bucket: str, options: dict[str, str], tmp_path: Path
) -> None:
    storage = StorageSettings(folder=tmp_path, pictures=bucket, picture_options=options)
    async with open_store(Config(file=tmp_path / "c.toml", storage=storage)) as store:
        upload = await store.jobs.keep_upload(b"a picture")
        job = await store.jobs.add(a_request(init_picture=upload), an_origin(7))
        assert await store.jobs.read_upload(upload) == b"a picture"
        await store.jobs.cancel_waiting(job.id)
        await store.personal.delete(7)
        assert await store.personal.sweep(timedelta(hours=-1)) >= 0
    assert not (tmp_path / "pictures").exists()
