"""The files of pictures: whole, kept once, removed when nobody wants them."""

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from storage import pictures
from storage.errors import PicturesAwayError
from storage.picture_store import PictureBrokenError, PictureMissingError
from storage.pictures import PictureFiles


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    return PictureFiles(tmp_path / "pictures")


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


async def older_than(files: PictureFiles, hours: float) -> list[str]:
    return [file async for some in files.older_than(timedelta(hours=hours)) for file in some]


async def test_a_file_is_read_against_its_name(files: PictureFiles) -> None:
    file = await files.write(b"a picture")
    assert await files.read(file) == b"a picture"
    for content in (b"", b"a pictur", b"another picture"):
        files.path(file).write_bytes(content)
        with pytest.raises(PictureBrokenError):
            await files.read(file)
    files.path(file).unlink()
    with pytest.raises(PictureMissingError):
        await files.read(file)


async def test_what_can_not_be_opened_for_now_is_not_called_gone(
    files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await files.write(b"a picture")

    async def none_left(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        for name in ("_read", "_head", "_size"):
            patched.setattr(files, name, none_left)
        for read in (files.read(file), files.head(file, 4), files.sizes_of([file])):
            with pytest.raises(PicturesAwayError, match="Too many open files"):
                await read
    assert await files.read(file) == b"a picture"
    assert await files.sizes_of([file, "ab" * 32]) == {file: 9, "ab" * 32: 0}


async def test_what_is_handed_in_again_mends_a_broken_file(files: PictureFiles) -> None:
    file = await files.write(b"a picture")
    files.path(file).write_bytes(b"half a p")
    assert await files.write(b"a picture") == file
    assert await files.read(file) == b"a picture"


async def test_a_write_that_fails_leaves_nothing_behind(
    files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        await files.write(b"a picture")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.name != "posix", reason="Windows syncs no folders")
async def test_the_name_is_on_disk_too(
    files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("nothing tells which file is synced")
    monkeypatch.setattr(os, "fsync", noting)
    file = await files.write(b"a picture")
    assert synced[0] == "pictures"  # where a folder was made
    assert synced[1].endswith(".part")
    assert synced[2:] == [file[:2]]  # after the file got its name


async def test_only_old_pictures_are_offered_and_old_parts_go(files: PictureFiles) -> None:
    new, old = await files.write(b"new"), await files.write(b"old")
    age(files.path(old), 3)
    folder = files.path(old).parent
    others = [folder / name for name in ("notes.txt", "ab.png", "young.part", "old.part")]
    for path in others:
        path.write_bytes(b"x")
    for path in (others[0], others[1], others[3]):
        age(path, 3)
    assert await older_than(files, 2) == [old]
    assert [path.exists() for path in others] == [True, True, True, False]
    assert set(await older_than(files, -1)) == {new, old}


async def test_a_folder_that_is_not_there_holds_nothing(files: PictureFiles) -> None:
    assert await older_than(files, 1) == []


async def test_a_sweep_is_cut_into_batches(
    files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "BATCH", 3)
    written = {await files.write(bytes([n])) for n in range(10)}
    batches = [some async for some in files.older_than(timedelta(hours=-1))]
    assert max(map(len, batches)) == 3
    assert {file for some in batches for file in some} == written
    threads: list[str] = []
    entries = files._entries

    def noting() -> Iterator[os.DirEntry[str]]:
        for entry in entries():
            threads.append(threading.current_thread().name)
            yield entry

    monkeypatch.setattr(files, "_entries", noting)
    assert await older_than(files, 5) == []
    assert threading.current_thread().name not in threads


async def test_what_is_written_while_a_removal_looks_stays(files: PictureFiles) -> None:
    first, second, third = [await files.write(bytes([n])) for n in range(3)]
    with files.removing() as removal:
        assert await files.write(bytes([0])) == first
        async with files.keeping(bytes([1])):
            assert len(await removal.remove([first, second, third])) == 1
    assert [files.path(file).exists() for file in (first, second, third)] == [True, True, False]
    async with files.keeping(bytes([1])):
        with files.removing() as later:
            assert len(await later.remove([second])) == 0
    with files.removing() as later:
        assert len(await later.remove([first, second])) == 2


async def test_the_same_file_from_many_at_once(files: PictureFiles, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    written = await asyncio.gather(*(files.write(data) for _ in range(8)))
    assert set(written) == {hashlib.sha256(data).hexdigest()}
    assert await files.read(written[0]) == data
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


async def test_a_files_name_says_what_it_is(files: PictureFiles) -> None:
    contents = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".webp": b"RIFF\0\0\0\0WEBP"}
    hashes = {suffix: await files.write(content) for suffix, content in contents.items()}
    for suffix, file in hashes.items():
        assert files.path(file).name == f"{file}{suffix}"
        assert await files.read(file) == contents[suffix]
        age(files.path(file), 25)
    assert set(await older_than(files, 24)) == set(hashes.values())
    with files.removing() as removal:
        assert len(await removal.remove(hashes.values())) == 3
    assert not any(files.path(file).exists() for file in hashes.values())


@pytest.mark.parametrize("name", ["../../secret", "", "a", "\ud83d", "A" * 64, f"{'a' * 64}\n"])
async def test_what_is_no_hash_names_no_file(
    files: PictureFiles, tmp_path: Path, name: str
) -> None:
    with pytest.raises(PictureMissingError):
        await files.read(name)
