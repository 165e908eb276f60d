"""Everything that is kept about one person: as files to take along, or gone."""

import time
from collections.abc import AsyncGenerator, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, tuple_

from generation.job import ENDED, JobState
from generation.refusal import Refused
from storage.clock import Now, machine_time
from storage.database import Database
from storage.drafts import KEPT_FOR
from storage.export import Exporter
from storage.grids import PROPOSED
from storage.inserting import insert_into
from storage.jobs import JobStore
from storage.picture_store import PictureStore
from storage.settings import SettingsStore
from storage.tables import (
    NO_GUILD,
    ApprovalRow,
    DeletionRow,
    DraftRow,
    DraftUploadRow,
    FavouriteRow,
    GridRow,
    HandedInRow,
    JobRow,
    MessageRow,
    NoticeRow,
    PictureRow,
    PresetRow,
    QueryRow,
    QuotaResetRow,
    SettingsRow,
    SpentRow,
    TakeBackRow,
    UploadRow,
)

CHUNK: Final = 50
"""Jobs that are deleted in one transaction at most: others write in between."""
CHUNK_SECONDS: Final = 0.02
"""How long such a transaction may take; on a slow disk it is of fewer jobs."""
ROWS: Final = 500
"""Small rows that go in one transaction."""
DAY: Final = timedelta(days=1)
"""How long a file that was handed in stays that no job names, and a deleted picture counts."""


class Deleted(msgspec.Struct, frozen=True):
    """What went. `messages` are (channel id, message id), still on Discord."""

    jobs: int
    pictures: int
    messages: tuple[tuple[int, int], ...] = ()


class PersonalStore:
    """A person's data across all tables and files."""

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        jobs: JobStore,
        settings: SettingsStore,
        now: Now = machine_time,
    ) -> None:
        self._database = database
        self._now = now
        self._files = files
        self._settings = settings
        self._exporter = Exporter(database, files, jobs, settings)

    def export(self, user_id: int, folder: Path, *, max_bytes: int) -> AsyncGenerator[Path, None]:
        """Zip files of all that somebody has; see Exporter.export."""
        return self._exporter.export(user_id, folder, max_bytes=max_bytes)

    # deleting

    async def delete(self, user_id: int) -> Deleted:
        """Delete somebody's jobs, pictures, stars, searches and settings.

        From the first moment on nobody sees any of them; they go a few at a time, beside what
        others do, and after a stop half-way `resume` or another call goes on. Files that others'
        requests use stay. Raises Refused while something of theirs waits or runs, for its pictures
        would come afterwards.
        """
        last = await self._database.write(lambda connection: _mark(connection, user_id))
        self._settings.forget([("person", user_id)])
        return await self._go_on(user_id, last)

    async def resume(self) -> Deleted:
        """Go on with the deletions that a stop cut short."""
        marks = select(DeletionRow.user_id, DeletionRow.last_job)
        pending = await self._database.read(lambda c: c.execute(marks).all())
        jobs, pictures = 0, 0
        messages: list[tuple[int, int]] = []
        for user_id, last in pending:
            deleted = await self._go_on(user_id, last)
            jobs += deleted.jobs
            pictures += deleted.pictures
            messages += deleted.messages
        return Deleted(jobs, pictures, tuple(messages))

    async def delete_job(self, job_id: int) -> Deleted:
        """Delete one ended job and its pictures; one that is gone already is no error."""
        now = self._now()
        deleted, files = await self._database.write(lambda c: delete_jobs(c, [job_id], now))
        await self.remove_unused(files, DAY)
        return deleted

    async def _go_on(self, user_id: int, last: int) -> Deleted:
        """Delete somebody's ended jobs up to the one numbered `last`, and their stars."""
        jobs, pictures = 0, 0
        messages: list[tuple[int, int]] = []
        theirs = (
            select(JobRow.id)
            .where(JobRow.user_id == user_id, JobRow.id <= last, JobRow.state.in_(ENDED))
            .order_by(JobRow.id)
        )
        size = float(CHUNK)

        def delete_some(connection: Connection) -> tuple[Deleted, set[str], float]:
            begun = time.monotonic()
            some = connection.execute(theirs.limit(round(size))).scalars().all()
            return *delete_jobs(connection, some, self._now()), time.monotonic() - begun

        while True:
            deleted, files, seconds = await self._database.write(delete_some)
            if not deleted.jobs:
                break
            size = min(CHUNK, max(1, size * min(2, CHUNK_SECONDS / max(seconds, 0.001))))
            jobs += deleted.jobs
            pictures += deleted.pictures
            messages += deleted.messages
            await self.remove_unused(files, DAY)
        star = (FavouriteRow.job_id, FavouriteRow.position)
        own = FavouriteRow.user_id == user_id
        await self._delete_in_parts(
            delete(FavouriteRow).where(own, tuple_(*star).in_(select(*star).where(own).limit(ROWS)))
        )
        grids = select(GridRow.id).where(GridRow.user_id == user_id).limit(ROWS)
        await self._delete_in_parts(delete(GridRow).where(GridRow.id.in_(grids)))
        mark = delete(DeletionRow).where(DeletionRow.user_id == user_id)
        await self._database.write(lambda connection: connection.execute(mark))
        return Deleted(jobs, pictures, tuple(messages))

    async def _delete_in_parts(self, statement: Any) -> None:
        """Repeat a bounded DELETE, each a transaction of its own, until nothing is left."""
        while await self._database.write(lambda connection: connection.execute(statement).rowcount):
            pass

    # files

    async def sweep(self, age: timedelta) -> int:
        """Remove files of that age which nothing names; returns how many: none where another
        process does so now.

        Drafts that nobody took up again go before them.
        """
        async with self._database.alone("sweep") as alone:
            return await self._sweep(age) if alone else 0

    async def _sweep(self, age: timedelta) -> int:
        now = self._now()
        outdated = DraftRow.created_at < now - KEPT_FOR
        drafts = select(DraftRow.id).where(outdated).limit(ROWS)
        await self._delete_in_parts(delete(DraftRow).where(DraftRow.id.in_(drafts)))
        old = select(HandedInRow.file).where(HandedInRow.handed_in_at < now - age).limit(ROWS)
        await self._delete_in_parts(delete(HandedInRow).where(HandedInRow.file.in_(old)))
        spent = select(SpentRow.id).where(SpentRow.created_at < now - DAY).limit(ROWS)
        await self._delete_in_parts(delete(SpentRow).where(SpentRow.id.in_(spent)))
        outlived = delete(QuotaResetRow).where(QuotaResetRow.reset_at < now - DAY)
        await self._database.write(lambda connection: connection.execute(outlived))
        unconfirmed = select(GridRow.id).where(
            GridRow.state == PROPOSED, GridRow.created_at < now - DAY
        )
        await self._delete_in_parts(delete(GridRow).where(GridRow.id.in_(unconfirmed.limit(ROWS))))
        removed = 0
        async for files in self._files.older_than(age):
            removed += len(await self.remove_unused(files, age))
        return removed

    async def remove_unused(self, files: Collection[str], age: timedelta) -> Sequence[str]:
        """Of these, remove those that no picture, no request and nobody who handed one in since
        then names; returns which.
        """
        since = self._now() - age
        with self._files.removing() as removal:
            named = await self._database.read(lambda c: _named(c, sorted(files), since))
            return await removal.remove(set(files) - named)


def _named(connection: Connection, files: Sequence[str], since: datetime) -> set[str]:
    """Of these files, those that something names, or that were handed in since then."""
    found: set[str] = set()
    for start in range(0, len(files), ROWS):
        some = files[start : start + ROWS]
        for names in (
            select(PictureRow.file).where(PictureRow.file.in_(some), PictureRow.removed.is_(False)),
            select(UploadRow.file).where(UploadRow.file.in_(some)),
            select(DraftUploadRow.file).where(DraftUploadRow.file.in_(some)),
            select(HandedInRow.file).where(
                HandedInRow.file.in_(some), HandedInRow.handed_in_at > since
            ),
        ):
            found |= set(connection.execute(names).scalars())
    return found


def _mark(connection: Connection, user_id: int) -> int:
    """Have nobody see somebody's jobs any more; returns the number of the last of them."""
    busy = select(JobRow.id).where(
        JobRow.user_id == user_id, JobRow.state.in_((JobState.QUEUED, JobState.RUNNING))
    )
    if connection.execute(busy.limit(1)).first() is not None:
        raise Refused("delete_while_running")
    newest = select(func.max(JobRow.id)).where(JobRow.user_id == user_id)
    last = int(connection.execute(newest).scalar_one() or 0)
    row = insert_into(connection.dialect, DeletionRow).values(user_id=user_id, last_job=last)
    connection.execute(
        row.on_conflict_do_update(index_elements=["user_id"], set_={"last_job": last})
    )
    for table in (QueryRow, NoticeRow, DraftRow):
        connection.execute(delete(table).where(table.user_id == user_id))
    connection.execute(
        delete(PresetRow).where(PresetRow.scope == "person", PresetRow.owner_id == user_id)
    )
    connection.execute(
        delete(SettingsRow).where(SettingsRow.scope == "person", SettingsRow.id == user_id)
    )
    return last


def delete_jobs(
    connection: Connection, job_ids: Sequence[int], now: datetime
) -> tuple[Deleted, set[str]]:
    """Delete jobs with their pictures, messages and stars, and say which files they named."""
    if not job_ids:
        return Deleted(0, 0), set()
    shown = (
        select(MessageRow.channel_id, MessageRow.message_id, JobRow.user_id)
        .join(JobRow, JobRow.id == MessageRow.job_id)
        .where(MessageRow.job_id.in_(job_ids))
    )
    to_approve = (
        select(ApprovalRow.channel_id, ApprovalRow.message_id, JobRow.user_id)
        .join(JobRow, JobRow.id == ApprovalRow.job_id)
        .where(ApprovalRow.job_id.in_(job_ids), ApprovalRow.message_id.is_not(None))
    )
    # the picture of a grid shows all of its jobs
    in_grids = (
        select(GridRow.channel_id, GridRow.message_id, GridRow.user_id)
        .join(JobRow, JobRow.grid_id == GridRow.id)
        .where(JobRow.id.in_(job_ids), GridRow.message_id.is_not(None))
        .distinct()
    )
    asked = (shown, to_approve, in_grids)
    showing = [row._asdict() for each in asked for row in connection.execute(each)]
    if showing:
        row = insert_into(connection.dialect, TakeBackRow).on_conflict_do_nothing()
        connection.execute(row, showing)
    messages = [(row["channel_id"], row["message_id"]) for row in showing]
    made = select(PictureRow.file).where(PictureRow.job_id.in_(job_ids))
    files = list(connection.execute(made).scalars())
    started_from = select(UploadRow.file).where(UploadRow.job_id.in_(job_ids))
    handed_in = set(connection.execute(started_from).scalars())
    # deleting pictures gives no quota back: their number is kept for the day
    guild = func.coalesce(JobRow.guild_id, NO_GUILD)
    counts = select(JobRow.user_id, guild, JobRow.created_at, JobRow.image_count).where(
        JobRow.id.in_(job_ids),
        JobRow.state == JobState.FINISHED,
        JobRow.created_at > now - DAY,
    )
    names = ["user_id", "guild_id", "created_at", "count"]
    connection.execute(insert(SpentRow).from_select(names, counts))
    gone = connection.execute(delete(JobRow).where(JobRow.id.in_(job_ids)))
    return Deleted(gone.rowcount, len(files), tuple(messages)), handed_in | set(files)
