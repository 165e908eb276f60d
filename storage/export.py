"""Everything that is kept about one person as zip files, one after the other."""

import asyncio
import contextlib
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import select

from generation.job import Job
from generation.picture_files import suffix_of
from generation.preset import Preset
from generation.preset_files import to_toml
from generation.refusal import Refused
from storage import records
from storage.database import Database
from storage.job_reader import VISIBLE, JobReader
from storage.job_rows import JOB_COLUMNS
from storage.picture_store import PictureMissingError, PictureStore
from storage.records import UNDECODABLE, RecordText, RecordUnreadableError
from storage.settings import SettingsStore
from storage.tables import (
    DraftRow,
    DraftUploadRow,
    FavouriteRow,
    JobRow,
    PictureRow,
    PresetRow,
    QueryRow,
    UploadRow,
)

PAGE: Final = 200
"""Jobs that are read at a time."""
AT_ONCE: Final = 2
"""Exports that are made at the same time."""
EMPTY, ENTRY = 256, 256
"""Bytes of a zip with nothing in it, and of one entry beside its content and, twice, its name."""


class Exporter:
    """Makes zip files of what people have."""

    def __init__(
        self, database: Database, files: PictureStore, jobs: JobReader, settings: SettingsStore
    ) -> None:
        self._database = database
        self._files = files
        self._jobs = jobs
        self._settings = settings
        self._exporting: set[int] = set()

    async def export(
        self, user_id: int, folder: Path, *, max_bytes: int
    ) -> AsyncGenerator[Path, None]:
        """Zip files in `folder`, each of at most `max_bytes` and yielded when it is whole.

        Whoever takes one removes it, so that there is never a copy of everything: the next is begun
        when the one after it is asked for. The first
        begins with `settings.json`, `favourites.json`, `searches.json`, `presets.toml`,
        `drafts.json` and `jobs.json`, which goes on in `jobs-2.json` where it is long; then come
        the pictures that were made and those that were handed in. A file that fills more than one
        zip is cut into `.001`, `.002`.

        Raises Refused where this person's or too many others' are being made.
        """
        if user_id in self._exporting or len(self._exporting) >= AT_ONCE:
            raise Refused("exports_busy")
        self._exporting.add(user_id)
        parts = _Parts(folder, max_bytes)
        try:
            async with contextlib.aclosing(self._contents(user_id, max_bytes // 2)) as contents:
                async for name, content in contents:
                    for piece in parts.pieces(name, content):
                        if parts.is_full_for(*piece):
                            yield await asyncio.to_thread(parts.close)
                        await asyncio.to_thread(parts.add, *piece)
            yield await asyncio.to_thread(parts.close)
        finally:
            self._exporting.discard(user_id)
            await asyncio.to_thread(parts.close)

    async def _contents(
        self, user_id: int, max_bytes: int
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """The files by name, the texts of at most about `max_bytes`."""
        yield "settings.json", _pretty(msgspec.json.encode(await self._settings.person(user_id)))
        yield "favourites.json", _pretty(await self._favourites(user_id))
        yield "searches.json", _pretty(await self._searches(user_id))
        yield "presets.toml", await self._presets(user_id)
        yield "drafts.json", _pretty(await self._drafts(user_id))
        texts = _Texts(max_bytes)
        async for page in self._pages(user_id):
            statement = select(*JOB_COLUMNS).where(JobRow.id.in_(page), VISIBLE)
            jobs = await self._jobs.matching(statement.order_by(JobRow.id))
            for name, content in await asyncio.to_thread(texts.add, jobs):
                yield name, content
        yield texts.last()
        async for name, file in self._pictures(user_id):
            try:
                content = await self._files.read(file)
                yield f"{name}{suffix_of(content)}", content
            except PictureMissingError:
                continue

    async def _pictures(self, user_id: int) -> AsyncIterator[tuple[str, str]]:
        """What was made and then what was handed in, as names without an ending and hashes."""
        async for page in self._pages(user_id):
            made = (
                select(PictureRow.job_id, PictureRow.position, PictureRow.seed, PictureRow.file)
                .where(PictureRow.job_id.in_(page))
                .order_by(PictureRow.job_id, PictureRow.position)
            )
            rows = await self._all(made)
            for job_id, position, seed, file in rows:
                yield f"pictures/{job_id:06}-{position + 1}-{seed}", file
        seen: set[str] = set()
        async for page in self._pages(user_id):
            named = select(UploadRow.file).where(UploadRow.job_id.in_(page)).distinct()
            files = {row[0] for row in await self._all(named)} - seen
            own = (
                select(PictureRow.file)
                .join(JobRow, JobRow.id == PictureRow.job_id)
                .where(PictureRow.file.in_(files), JobRow.user_id == user_id)
            )
            made_here = {row[0] for row in await self._all(own)}
            seen |= files
            for file in sorted(files - made_here):
                yield f"uploads/{file}", file
        given = (
            select(DraftUploadRow.file)
            .join(DraftRow, DraftRow.id == DraftUploadRow.draft_id)
            .where(DraftRow.user_id == user_id)
            .distinct()
        )
        for file in sorted({row[0] for row in await self._all(given)} - seen):
            yield f"uploads/{file}", file

    async def _pages(self, user_id: int) -> AsyncIterator[Sequence[int]]:
        """The numbers of somebody's jobs, oldest first, a few at a time."""
        last = 0
        while True:
            statement = (
                select(JobRow.id)
                .where(JobRow.user_id == user_id, JobRow.id > last, VISIBLE)
                .order_by(JobRow.id)
                .limit(PAGE)
            )
            page = [row[0] for row in await self._all(statement)]
            if not page:
                return
            yield page
            last = page[-1]

    async def _favourites(self, user_id: int) -> bytes:
        stars = select(FavouriteRow.job_id, FavouriteRow.position).where(
            FavouriteRow.user_id == user_id
        )
        return msgspec.json.encode(
            [{"job": job, "picture": position + 1} for job, position in await self._all(stars)]
        )

    async def _searches(self, user_id: int) -> bytes:
        kept = records.text_of(QueryRow.query, self._database.dialect)
        sought = select(kept).where(QueryRow.user_id == user_id).order_by(QueryRow.id)
        return msgspec.json.encode([_json(row[0]) for row in await self._all(sought)])

    async def _presets(self, user_id: int) -> bytes:
        kept = records.text_of(PresetRow.preset, self._database.dialect)
        own = select(kept).where(
            PresetRow.scope == "person",
            PresetRow.owner_id == user_id,
            PresetRow.deleted_at.is_(None),
        )
        presets, unreadable = [], ""
        for row in await self._all(own.order_by(PresetRow.key)):
            try:
                presets.append(records.decoded(row[0], Preset))
            except RecordUnreadableError:
                unreadable += f"# {records.shown(row[0])!a}\n"
        return (unreadable + to_toml(presets)).encode()

    async def _drafts(self, user_id: int) -> bytes:
        kept = records.text_of(DraftRow.draft, self._database.dialect)
        typed = select(kept).where(DraftRow.user_id == user_id).order_by(DraftRow.id)
        return msgspec.json.encode([_json(row[0]) for row in await self._all(typed)])

    async def _all(self, statement: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await self._database.read(lambda c: c.execute(statement).all())
        return rows


class _Texts:
    """The jobs as JSON in files of about `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[bytes] = []
        self._size = 0
        self._number = 1

    def add(self, jobs: Sequence[Job]) -> list[tuple[str, bytes]]:
        """Take these jobs; returns the files that are full."""
        full = []
        for job in jobs:
            entry = _pretty(msgspec.json.encode(_without_token(job)))
            if self._entries and self._size + len(entry) > self._max_bytes:
                full.append(self.last())
            self._entries.append(entry)
            self._size += len(entry)
        return full

    def last(self) -> tuple[str, bytes]:
        """A file of what was taken since the last one."""
        name = "jobs.json" if self._number == 1 else f"jobs-{self._number}.json"
        content = b"[" + b",\n".join(self._entries) + b"]"
        self._entries, self._size = [], 0
        self._number += 1
        return name, content


class _Parts:
    """Zip files, one after the other."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._count = 0
        self._zip: zipfile.ZipFile | None = None
        self._path = folder
        self._bytes = EMPTY

    def pieces(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        """A file as names and contents that fit; several where it is larger than a whole zip."""
        most = self._max_bytes - EMPTY - ENTRY - 2 * len(name)
        if len(content) <= most:
            yield name, content
            return
        for number, start in enumerate(range(0, len(content), most), 1):
            yield f"{name}.{number:03}", content[start : start + most]

    def is_full_for(self, name: str, piece: bytes) -> bool:
        """Whether the zip is to be closed before this is added."""
        return self._zip is not None and self._bytes + _size(name, piece) > self._max_bytes

    def add(self, name: str, piece: bytes) -> None:
        """Add a piece, to a new zip where the last was closed."""
        if self._zip is None:
            self._count += 1
            self._path = self._folder / f"darkroom-{self._count}.zip"
            # pictures are compressed already
            self._zip = zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED)
            self._bytes = EMPTY
        self._zip.writestr(name, piece)
        self._bytes += _size(name, piece)

    def close(self) -> Path:
        """The zip, to which nothing more is added."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None
        return self._path


def _size(name: str, piece: bytes) -> int:
    """Bytes of a zip that a piece takes."""
    return len(piece) + 2 * len(name) + ENTRY


def _json(text: RecordText) -> object:
    """The value of a JSON text; of what is none its characters."""
    try:
        return msgspec.json.decode(text)
    except UNDECODABLE:
        return records.shown(text)


def _pretty(content: bytes) -> bytes:
    return msgspec.json.format(content, indent=1)


def _without_token(job: Job) -> Job:
    """Without the token of its interaction, which is nobody's data."""
    return msgspec.structs.replace(
        job, origin=msgspec.structs.replace(job.origin, interaction=None)
    )
