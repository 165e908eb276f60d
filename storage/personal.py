"""Everything that is kept about one person: as files to take along, or gone."""

import asyncio
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.job import Job, JobState
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
        """Zip files in `folder`, each of at most `max_bytes` unless one picture has more.

        The first has `jobs.json`, `settings.json` and `favourites.json`; pictures follow in all.
        """
        jobs = await self._jobs.matching(
            select(*JOBS.c).where(JobRow.user_id == user_id).order_by(JobRow.id)
        )
        settings = await self._settings.person(user_id)
        statement = select(FavouriteRow.job_id, FavouriteRow.position).where(
            FavouriteRow.user_id == user_id
        )
        async with self._database.connect() as connection:
            stars = [
                {"job": job, "picture": position + 1}
                for job, position in await connection.execute(statement)
            ]
        texts = {
            "jobs.json": msgspec.json.encode([_plain(job) for job in jobs]),
            "settings.json": msgspec.json.encode(settings),
            "favourites.json": msgspec.json.encode(stars),
        }
        pictures = [
            (f"pictures/{job.id:06}-{picture.index + 1}-{picture.seed}.png", picture.file)
            for job in jobs
            for picture in job.pictures
        ]
        parts = _Parts(folder, max_bytes)
        for name, content in texts.items():
            await asyncio.to_thread(parts.add, name, msgspec.json.format(content, indent=1))
        for name, file in pictures:
            try:
                content = await self._files.read(file)
            except PictureMissingError:
                continue
            await asyncio.to_thread(parts.add, name, content)
        return await asyncio.to_thread(parts.close)

    async def delete(self, user_id: int) -> Deleted:
        """Delete somebody's ended jobs, pictures, stars, searches and settings.

        What still runs stays until it has ended. Files that others' requests use stay too.
        """
        ended = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        async with self._database.begin() as connection:
            statement = select(JobRow.id).where(JobRow.user_id == user_id, JobRow.state.in_(ended))
            job_ids = list((await connection.execute(statement)).scalars())
            deleted = await self._delete_jobs(connection, job_ids)
            for table in (FavouriteRow, QueryRow, NoticeRow):
                await connection.execute(delete(table).where(table.user_id == user_id))
            await connection.execute(
                delete(SettingsRow).where(SettingsRow.scope == "person", SettingsRow.id == user_id)
            )
        self._settings.forget(user_id)
        await self._remove_unused_files(deleted[1])
        return deleted[0]

    async def delete_job(self, job_id: int) -> Deleted:
        """Delete one ended job and its pictures."""
        async with self._database.begin() as connection:
            deleted, files = await self._delete_jobs(connection, [job_id])
        await self._remove_unused_files(files)
        return deleted

    async def _delete_jobs(
        self, connection: AsyncConnection, job_ids: list[int]
    ) -> tuple[Deleted, set[str]]:
        messages: list[tuple[int, int]] = []
        files: set[str] = set()
        pictures = 0
        for job_id in job_ids:
            shown = select(MessageRow.channel_id, MessageRow.message_id).where(
                MessageRow.job_id == job_id, MessageRow.kind != "progress"
            )
            messages += [(row[0], row[1]) for row in await connection.execute(shown)]
            made = select(PictureRow.file).where(PictureRow.job_id == job_id)
            found = list((await connection.execute(made)).scalars())
            pictures += len(found)
            job = (
                await connection.execute(
                    select(
                        JobRow.request,
                        JobRow.user_id,
                        JobRow.guild_id,
                        JobRow.created_at,
                        JobRow.state,
                    ).where(JobRow.id == job_id)
                )
            ).one()
            files |= {*found, *job.request.uploads}
            await _keep_count(connection, job)
            # the rows of pictures, messages and stars go with it
            await connection.execute(delete(JobRow).where(JobRow.id == job_id))
        return Deleted(len(job_ids), pictures, tuple(messages)), files

    async def _remove_unused_files(self, files: set[str]) -> None:
        """Remove the files that no picture and no request names any more."""
        if not files:
            return
        async with self._database.connect() as connection:
            used = set((await connection.execute(select(PictureRow.file).distinct())).scalars())
            for request in (await connection.execute(select(JobRow.request))).scalars():
                used |= set(request.uploads)
        for file in files - used:
            await self._files.remove(file)


async def _keep_count(connection: AsyncConnection, job: Any) -> None:
    """Deleting pictures gives no quota back: their number is kept for the day."""
    day_ago = datetime.now(UTC) - timedelta(days=1)
    await connection.execute(delete(SpentRow).where(SpentRow.created_at < day_ago))
    if job.guild_id is not None and job.state is JobState.FINISHED and job.created_at > day_ago:
        await connection.execute(
            insert(SpentRow).values(
                user_id=job.user_id,
                guild_id=job.guild_id,
                created_at=job.created_at,
                count=job.request.count,
            )
        )


class _Parts:
    """Zip files, a new one whenever the last is full."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._paths: list[Path] = []
        self._zip: zipfile.ZipFile | None = None
        self._bytes = 0

    def add(self, name: str, content: bytes) -> None:
        size = len(content) + 2 * len(name) + 256
        if self._zip is None or self._bytes + size > self._max_bytes:
            if self._zip is not None:
                self._zip.close()
            path = self._folder / f"darkroom-{len(self._paths) + 1}.zip"
            self._paths.append(path)
            # pictures are compressed already
            self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
            self._bytes = 256
        self._zip.writestr(name, content)
        self._bytes += size

    def close(self) -> list[Path]:
        if self._zip is not None:
            self._zip.close()
        return self._paths


def _plain(job: Job) -> Job:
    """Without the token of its interaction, which is nobody's data."""
    return msgspec.structs.replace(
        job, origin=msgspec.structs.replace(job.origin, interaction=None)
    )
