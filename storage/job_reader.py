"""Looking at jobs: each question one visit to the database. What is being deleted is not seen."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, exists, func, select

from generation.estimate import MEASURED, Measurement
from generation.job import Job, JobState, PictureRecord
from storage import job_rows
from storage.database import Database
from storage.job_rows import JOB_COLUMNS
from storage.picture_store import PictureStore
from storage.tables import DeletionRow, JobRow, MessageRow, PictureRow, TakeBackRow, UploadRow

VISIBLE: Final = ~exists().where(
    DeletionRow.user_id == JobRow.user_id, JobRow.id <= DeletionRow.last_job
)
"""A job that is not being deleted."""


GET: Final = select(*JOB_COLUMNS).where(JobRow.id == bindparam("job"), VISIBLE)
ASKED: Final = func.count(func.coalesce(-JobRow.grid_id, JobRow.id).distinct())
"""How many of jobs were asked for by themselves: all of a grid are one."""
WAITING: Final = select(ASKED).where(
    JobRow.user_id == bindparam("user"),
    JobRow.state.in_((JobState.QUEUED, JobState.RUNNING)),
)
SHOWN: Final = (
    select(*JOB_COLUMNS, MessageRow.position.label("shown"))
    .join(MessageRow, MessageRow.job_id == JobRow.id)
    .where(MessageRow.message_id == bindparam("message"), VISIBLE)
)


class JobReader:
    """All jobs and their pictures and messages, as they are."""

    def __init__(self, database: Database, files: PictureStore) -> None:
        self._database = database
        self._files = files

    async def get(self, job_id: int) -> Job | None:
        """A job with its pictures."""
        jobs = await self.matching(GET.params(job=job_id))
        return jobs[0] if jobs else None

    async def matching(self, statement: Select[Any]) -> list[Job]:
        """The jobs of a query for JOB_COLUMNS, in its order, without those that can't be read."""
        return await self._database.read(lambda c: job_rows.jobs_of(c, statement))

    async def count_waiting(self, user_id: int) -> int:
        """How many jobs of this person wait or run."""
        person = {"user": user_id}
        return await self._database.read(lambda c: int(c.execute(WAITING, person).scalar_one()))

    async def running_of(self, user_id: int) -> list[Job]:
        """Somebody's jobs that are being drawn, whoever draws them, oldest first."""
        own = (JobRow.user_id == user_id, JobRow.state == JobState.RUNNING)
        return await self.matching(select(*JOB_COLUMNS).where(*own).order_by(JobRow.id))

    async def waiting_ids(self) -> Sequence[int]:
        """The numbers of the queued jobs, oldest first."""
        statement = select(JobRow.id).where(JobRow.state == JobState.QUEUED).order_by(JobRow.id)
        return await self._database.read(lambda c: c.execute(statement).scalars().all())

    async def newest_id(self) -> int:
        """The number of the job that was asked for last; 0 where there is none."""
        return await self._database.read(
            lambda c: c.execute(select(func.max(JobRow.id))).scalar() or 0
        )

    async def measurements(self) -> Sequence[Measurement]:
        """How long recent jobs took, in the order of their making, newest first."""
        statement = (
            select(*JOB_COLUMNS)
            .where(JobRow.state == JobState.FINISHED, JobRow.provenance.is_not(None))
            .order_by(JobRow.id.desc())
            .limit(MEASURED)
        )

        def measured(connection: Connection) -> list[Measurement]:
            made = job_rows.readable(job_rows.rows_of(connection, statement), {})
            made.sort(key=lambda job: job.ended_at or job.created_at, reverse=True)
            return [
                Measurement(
                    *(job.request, job.provenance.seconds, job.provenance.seconds_loading),
                    job.provenance.worker,
                )
                for job in made
                if job.provenance is not None
            ]

        return await self._database.read(measured)

    async def has_files(self, user_id: int, files: Collection[str]) -> bool:
        """Whether somebody's own jobs started from, followed or made each of these files."""
        own = select(JobRow.id).where(JobRow.user_id == user_id, VISIBLE)
        given = select(UploadRow.file).where(UploadRow.file.in_(files), UploadRow.job_id.in_(own))
        made = select(PictureRow.file).where(PictureRow.file.in_(files), PictureRow.job_id.in_(own))
        statement = given.union(made)
        found = await self._database.read(lambda c: set(c.execute(statement).scalars()))
        return found == set(files)

    async def read_picture(self, picture: PictureRecord) -> bytes:
        """The file of a finished picture. Raises PictureMissingError."""
        return await self._files.read(picture.file)

    async def shown_by(self, message_id: int) -> tuple[Job, int | None] | None:
        """The job that a message shows, and the one picture of it where it shows only that."""
        statement = SHOWN.params(message=message_id)

        def shown(connection: Connection) -> tuple[Job, int | None] | None:
            rows = job_rows.rows_of(connection, statement)
            pictures = job_rows.pictures_of(connection, [row["id"] for row in rows])
            jobs = job_rows.readable(rows, pictures)
            return (jobs[0], rows[0]["shown"]) if jobs else None

        return await self._database.read(shown)

    async def to_take_back(self) -> list[tuple[int, int]]:
        """The messages to be deleted that are still on Discord, as (channel id, message id)."""
        statement = select(TakeBackRow.channel_id, TakeBackRow.message_id)
        return await self._database.read(
            lambda c: [(row[0], row[1]) for row in c.execute(statement)]
        )

    async def had_asked(self, message_id: int) -> int | None:
        """Who had asked for the deleted job that a message shows, which is still on Discord."""
        statement = select(TakeBackRow.user_id).where(TakeBackRow.message_id == message_id)
        return await self._database.read(lambda c: c.execute(statement).scalar_one_or_none())

    async def messages_of(self, job_id: int, kind: str) -> list[tuple[int, int]]:
        """The messages that show a job, as (channel id, message id), oldest first."""
        statement = (
            select(MessageRow.channel_id, MessageRow.message_id)
            .where(MessageRow.job_id == job_id, MessageRow.kind == kind)
            .order_by(MessageRow.message_id)
        )
        return await self._database.read(
            lambda c: [(row[0], row[1]) for row in c.execute(statement)]
        )
