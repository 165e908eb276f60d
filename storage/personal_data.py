"""Everything that is kept about one person: as files to take along, or gone."""

import asyncio
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Text, delete, insert, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.job import Job, JobState
from generation.refusal import Refused
from storage.jobs import JOBS, JobStore
from storage.pictures import PictureFiles, PictureMissingError
from storage.settings import SettingsStore
from storage.tables import (
    FavouriteRow,
    JobRow,
    MessageRow,
    NoticeRow,
    PictureRow,
    QueryRow,
    SettingsRow,
    SpentRow,
)

CHUNK = 500
"""Rows of one statement: databases bound how many values it may have."""
EMPTY, ENTRY = 256, 256
"""Bytes of a zip with nothing in it, and of one entry beside its content and, twice, its name."""


class Deleted(msgspec.Struct, frozen=True):
    """What went. `messages` are (channel id, message id), still on Discord."""

    jobs: int
    pictures: int
    messages: tuple[tuple[int, int], ...] = ()


class PersonalStore:
    """A person's data across all tables and files."""

    def __init__(
        self,
        database: AsyncEngine,
        files: PictureFiles,
        jobs: JobStore,
        settings: SettingsStore,
    ) -> None:
        self._database = database
        self._files = files
        self._jobs = jobs
        self._settings = settings

    async def export(self, user_id: int, folder: Path, *, max_bytes: int) -> list[Path]:
        """Zip files in `folder`, each of at most `max_bytes`.

        The first begins with `settings.json`, `favourites.json`, `searches.json` and `jobs.json`,
        which goes on in `jobs-2.json` where it is long; then come the pictures that were made and
        those that were handed in. A file that fills more than one zip is cut into `.001`, `.002`.
        """
        jobs = await self._jobs.matching(
            select(*JOBS.c).where(JobRow.user_id == user_id).order_by(JobRow.id)
        )
        texts = {
            "settings.json": msgspec.json.encode(await self._settings.person(user_id)),
            **await self._starred_and_sought(user_id),
        }
        made = {
            f"pictures/{job.id:06}-{picture.index + 1}-{picture.seed}.png": picture.file
            for job in jobs
            for picture in job.pictures
        }
        handed_in = {file for job in jobs for file in job.request.uploads} - set(made.values())
        pictures = made | {f"uploads/{file}.png": file for file in sorted(handed_in)}
        parts = _Parts(folder, max_bytes)
        await asyncio.to_thread(_add_texts, parts, texts, jobs, max_bytes // 2)
        for name, file in pictures.items():
            try:
                content = await self._files.read(file)
            except PictureMissingError:
                continue
            await asyncio.to_thread(parts.add, name, content)
        return await asyncio.to_thread(parts.close)

    async def delete(self, user_id: int) -> Deleted:
        """Delete somebody's jobs, pictures, stars, searches and settings.

        Files that others' requests use stay. Raises Refused while something of theirs waits or
        runs, for its pictures would come afterwards.
        """
        async with self._database.begin() as connection:
            statement = select(JobRow.id, JobRow.state).where(JobRow.user_id == user_id)
            states = {row[0]: row[1] for row in await connection.execute(statement)}
            if {JobState.QUEUED, JobState.RUNNING} & set(states.values()):
                raise Refused("delete_while_running")
            deleted, files = await self._delete_jobs(connection, list(states))
            for table in (FavouriteRow, QueryRow, NoticeRow):
                await connection.execute(delete(table).where(table.user_id == user_id))
            await connection.execute(
                delete(SettingsRow).where(SettingsRow.scope == "person", SettingsRow.id == user_id)
            )
        self._settings.forget([("person", user_id)])
        await self._remove_unused_files(files)
        return deleted

    async def delete_job(self, job_id: int) -> Deleted:
        """Delete one ended job and its pictures; one that is gone already is no error."""
        async with self._database.begin() as connection:
            deleted, files = await self._delete_jobs(connection, [job_id])
        await self._remove_unused_files(files)
        return deleted

    async def _starred_and_sought(self, user_id: int) -> dict[str, bytes]:
        stars = select(FavouriteRow.job_id, FavouriteRow.position).where(
            FavouriteRow.user_id == user_id
        )
        sought = select(QueryRow.query).where(QueryRow.user_id == user_id).order_by(QueryRow.id)
        async with self._database.connect() as connection:
            starred = [
                {"job": job, "picture": position + 1}
                for job, position in await connection.execute(stars)
            ]
            queries = [
                msgspec.Raw(q.encode()) for q in (await connection.execute(sought)).scalars()
            ]
        return {
            "favourites.json": msgspec.json.encode(starred),
            "searches.json": msgspec.json.encode(queries),
        }

    async def _delete_jobs(
        self, connection: AsyncConnection, job_ids: Sequence[int]
    ) -> tuple[Deleted, set[str]]:
        """Delete jobs with their pictures, messages and stars, and say which files they used."""
        day_ago = datetime.now(UTC) - timedelta(days=1)
        await connection.execute(delete(SpentRow).where(SpentRow.created_at < day_ago))
        messages: list[tuple[int, int]] = []
        files: list[str] = []
        handed_in: set[str] = set()
        count = 0
        for start in range(0, len(job_ids), CHUNK):
            some = job_ids[start : start + CHUNK]
            shown = select(MessageRow.channel_id, MessageRow.message_id).where(
                MessageRow.job_id.in_(some), MessageRow.kind != "progress"
            )
            messages += [(row[0], row[1]) for row in await connection.execute(shown)]
            made = select(PictureRow.file).where(PictureRow.job_id.in_(some))
            files += (await connection.execute(made)).scalars()
            rows = await connection.execute(select(*JOBS.c).where(JobRow.id.in_(some)))
            jobs = rows.all()
            count += len(jobs)
            handed_in |= {file for job in jobs for file in job.request.uploads}
            await _keep_count(connection, jobs, day_ago)
            await connection.execute(delete(JobRow).where(JobRow.id.in_(some)))
        return Deleted(count, len(files), tuple(messages)), handed_in | set(files)

    async def sweep(self, age: timedelta) -> int:
        """Remove files of that age which nothing names; returns how many."""
        return await self._remove_unused_files(await self._files.older_than(age))

    async def _remove_unused_files(self, files: set[str]) -> int:
        """Remove the files that no picture and no request names any more; returns how many."""
        if not files:
            return 0
        listed = sorted(files)
        # requests are compact JSON: only these have a hash where a picture goes
        text = type_coerce(JobRow.request, Text)
        with_uploads = select(JobRow.request).where(
            or_(text.contains('"init_picture":"'), text.contains('"picture":"'))
        )
        async with self._database.connect() as connection:
            used = {
                file
                for request in (await connection.execute(with_uploads)).scalars()
                for file in request.uploads
            }
            for start in range(0, len(listed), CHUNK):
                some = listed[start : start + CHUNK]
                made = select(PictureRow.file).where(PictureRow.file.in_(some))
                used |= set((await connection.execute(made)).scalars())
        await self._files.remove(files - used)
        return len(files - used)


async def _keep_count(connection: AsyncConnection, jobs: Sequence[Any], since: datetime) -> None:
    """Deleting pictures gives no quota back: their number is kept for the day."""
    spent = [
        {
            "user_id": job.user_id,
            "guild_id": job.guild_id,
            "created_at": job.created_at,
            "count": job.request.count,
        }
        for job in jobs
        if job.guild_id is not None and job.state is JobState.FINISHED and job.created_at > since
    ]
    if spent:
        await connection.execute(insert(SpentRow), spent)


class _Parts:
    """Zip files, a new one whenever the last is full."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._paths: list[Path] = []
        self._zip: zipfile.ZipFile | None = None
        self._bytes = 0

    def add(self, name: str, content: bytes) -> None:
        """Add a file, in pieces that fit where it is larger than a whole zip."""
        most = self._max_bytes - EMPTY - ENTRY - 2 * len(name)
        if len(content) <= most:
            self._write(name, content)
            return
        for number, start in enumerate(range(0, len(content), most), 1):
            self._write(f"{name}.{number:03}", content[start : start + most])

    def close(self) -> list[Path]:
        if self._zip is not None:
            self._zip.close()
        return self._paths

    def _write(self, name: str, content: bytes) -> None:
        size = len(content) + 2 * len(name) + ENTRY
        if self._zip is None or self._bytes + size > self._max_bytes:
            if self._zip is not None:
                self._zip.close()
            path = self._folder / f"darkroom-{len(self._paths) + 1}.zip"
            self._paths.append(path)
            # pictures are compressed already
            self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
            self._bytes = EMPTY
        self._zip.writestr(name, content)
        self._bytes += size


def _add_texts(
    parts: _Parts, texts: Mapping[str, bytes], jobs: Sequence[Job], max_bytes: int
) -> None:
    """The JSON files: `texts` by name, and the jobs in files of about `max_bytes`."""
    for name, content in texts.items():
        parts.add(name, msgspec.json.format(content, indent=1))
    files: list[list[bytes]] = [[]]
    size = 0
    for job in jobs:
        entry = msgspec.json.format(msgspec.json.encode(_plain(job)), indent=1)
        if files[-1] and size + len(entry) > max_bytes:
            files.append([])
            size = 0
        files[-1].append(entry)
        size += len(entry)
    for number, entries in enumerate(files, 1):
        name = "jobs.json" if number == 1 else f"jobs-{number}.json"
        parts.add(name, b"[" + b",\n".join(entries) + b"]")


def _plain(job: Job) -> Job:
    """Without the token of its interaction, which is nobody's data."""
    return msgspec.structs.replace(
        job, origin=msgspec.structs.replace(job.origin, interaction=None)
    )
