"""What becomes of jobs: claimed by one statement, drawn, ended, delivered; never lost."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from sqlalchemy import ColumnElement, Connection, Select, Update, delete, select, update
from sqlalchemy.exc import DBAPIError

from generation.description import Description
from generation.job import (
    TRIES_AFTER_RESTART,
    Failure,
    IllegalTransitionError,
    Job,
    JobState,
    PictureRecord,
    Provenance,
    before,
)
from storage import job_rows
from storage.clock import Now, machine_time
from storage.database import Database
from storage.errors import trouble
from storage.inserting import insert_into
from storage.job_reader import VISIBLE, JobReader
from storage.job_rows import JOB_COLUMNS, UNREADABLE
from storage.picture_store import PictureStore
from storage.records import RecordUnreadableError
from storage.tables import (
    JobRow,
    PictureRow,
    UploadRow,
)

Pictures = dict[int, tuple[PictureRecord, ...]]

log = structlog.get_logger(__name__)


class JobStates(JobReader):
    """The states of jobs, and what is kept as they change.

    Whatever is said of a running job with its `lease` raises IllegalTransitionError where it was
    claimed anew since: then it is another's.
    """

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        now: Now = machine_time,
        process: str = "",
    ) -> None:
        super().__init__(database, files)
        self._now = now
        self.process = process
        """Which of several processes that share the database this is."""

    async def claim(self, job_id: int, worker: str = "") -> Job | None:
        """Make a queued job running, leased to a worker, in one statement; None when it is no
        longer queued.
        """
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.QUEUED)
            .values(
                state=JobState.RUNNING,
                started_at=self._now(),
                worker=worker,
                lease=JobRow.lease + 1,
            )
            .returning(*JOB_COLUMNS)
        )
        try:
            row = await self._database.write(
                lambda connection: connection.execute(statement).mappings().one_or_none()
            )
            return None if row is None else job_rows.read(row)
        except (RecordUnreadableError, DBAPIError) as error:
            log.error("a job can't be claimed", job=job_id, error=str(error))
            await self._give_up([job_id])
            return None

    async def begin(self, job_id: int, lease: int | None = None) -> None:
        """Note that the pictures of a running job were begun: one more of its tries.

        With a `lease`, here as below, raises IllegalTransitionError where somebody else has claimed
        it since.
        """
        statement = _running(job_id, lease).values(attempts=JobRow.attempts + 1)
        await self._database.write(lambda connection: _hit(connection, statement, job_id, lease))

    async def requeue(
        self, job_id: int, attempts: int | None = None, lease: int | None = None
    ) -> Job:
        """Make a running job queued again, without the pictures that it had; with `attempts`, as
        one that was begun only so many times.
        """
        values = {} if attempts is None else {"attempts": attempts}

        def again(connection: Connection) -> Job:
            moved = _move(connection, job_id, JobState.QUEUED, lease, description=None, **values)
            connection.execute(delete(PictureRow).where(PictureRow.job_id == job_id))
            return msgspec.structs.replace(moved, pictures=())

        return await self._database.write(again)

    async def finish(self, job_id: int, provenance: Provenance, lease: int | None = None) -> Job:
        """Make a running job finished."""
        ending = {"provenance": provenance, "ended_at": self._now()}
        return await self._database.write(
            lambda connection: _move(connection, job_id, JobState.FINISHED, lease, **ending)
        )

    async def fail(self, job_id: int, failure: Failure, lease: int | None = None) -> Job:
        """End a job without all of its pictures: cancelled when that is the failure, else failed.

        Raises IllegalTransitionError when it has ended already.
        """
        state = JobState.CANCELLED if failure.code == "cancelled" else JobState.FAILED
        ending = {"failure": failure, "ended_at": self._now()}
        return await self._database.write(
            lambda connection: _move(connection, job_id, state, lease, **ending)
        )

    async def cancel_waiting(self, job_id: int) -> Job | None:
        """Cancel a job that still waits; None when it runs or has ended."""
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.QUEUED)
            .values(
                state=JobState.CANCELLED,
                failure=Failure("cancelled"),
                ended_at=self._now(),
            )
            .returning(*JOB_COLUMNS)
        )
        row = await self._database.write(
            lambda connection: connection.execute(statement).mappings().one_or_none()
        )
        return None if row is None else job_rows.stand_in(row)

    async def recover(self) -> list[Job]:
        """Put the jobs that ran when the bot stopped back into the queue; those begun too often
        end with the reason. To be called once, before the workers start.
        """
        return await self.take_back(await self.in_hand(JobState.RUNNING))

    async def take_back(self, running: Sequence[Job]) -> list[Job]:
        """Do so with these jobs, unless somebody else has done so meanwhile."""
        recovered = []
        for job in running:
            with contextlib.suppress(IllegalTransitionError):
                if job.attempts < TRIES_AFTER_RESTART:
                    recovered.append(await self.requeue(job.id, lease=job.lease))
                else:
                    failure = Failure("interrupted_too_often")
                    recovered.append(await self.fail(job.id, failure, job.lease))
        return recovered

    async def add_picture(
        self, job_id: int, picture: PictureRecord, content: bytes, lease: int | None = None
    ) -> None:
        """Keep a finished picture; a second one of the same index replaces the first."""
        columns = {
            "seed": picture.seed,
            "width": picture.width,
            "height": picture.height,
            "pixels_sha256": picture.pixels_sha256,
            "variation_seed": picture.variation_seed,
            "unsafe": picture.unsafe,
        }
        async with self._files.keeping(content) as file:
            row = insert_into(self._database.dialect, PictureRow)
            row = row.values(job_id=job_id, position=picture.index, file=file, **columns)
            row = row.on_conflict_do_update(
                index_elements=["job_id", "position"], set_={"file": file, **columns}
            )
            held = _running(job_id, lease).values(lease=JobRow.lease)

            def note(connection: Connection) -> None:
                if lease is not None:
                    _hit(connection, held, job_id, lease)
                connection.execute(row)

            await self._database.write(note)

    async def add_control_picture(self, job_id: int, content: bytes) -> str:
        """Keep a control picture as a ControlNet was shown it for as long as the job is; returns
        its hash.
        """
        async with self._files.keeping(content) as file:
            row = insert_into(self._database.dialect, UploadRow)
            await self._write(row.values(job_id=job_id, file=file).on_conflict_do_nothing())
        return file

    async def add_description(
        self, job_id: int, description: Description, lease: int | None = None
    ) -> None:
        """Keep what was seen in the picture that a running job describes; it is found by it."""
        words = description.prompt.casefold()
        statement = _running(job_id, lease).values(description=description, words=words)
        await self._database.write(lambda connection: _hit(connection, statement, job_id, lease))

    async def mark_delivered(self, job_id: int) -> None:
        """Note that its owner has been told how it ended; again is no error."""
        await self._write(
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.delivered_at.is_(None))
            .values(delivered_at=self._now())
        )

    # looking

    async def waiting(self, only: Sequence[int] | None = None) -> Sequence[Job]:
        """The queued jobs, oldest first; with `only`, those of these numbers."""
        return await self.in_hand(JobState.QUEUED, only)

    def trouble(self, error: Exception) -> str | None:
        """The sentence for an error that may pass, such as a locked database; None for another."""
        return trouble(error)

    async def undelivered(self) -> Sequence[Job]:
        """Ended jobs of this process whose owners have not been told, oldest first.

        One whose record can't be read has failed, with a stand-in for its request.
        """
        ended = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        statement = (
            select(*JOB_COLUMNS)
            .where(JobRow.state.in_(ended), JobRow.delivered_at.is_(None), VISIBLE)
            .where(JobRow.process == self.process)
            .order_by(JobRow.id)
        )
        rows, pictures = await self._rows(statement)
        found = []
        for row in rows:
            try:
                found.append(job_rows.read(row, pictures.get(row["id"], ())))
            except RecordUnreadableError:
                found += await self._to_be_told(row)
        return found

    async def undelivered_ids(self) -> Sequence[int]:
        """Their numbers, of those too that can't be read."""
        ended = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        statement = (
            select(JobRow.id)
            .where(JobRow.state.in_(ended), JobRow.delivered_at.is_(None), VISIBLE)
            .where(JobRow.process == self.process)
            .order_by(JobRow.id)
        )
        return await self._database.read(lambda c: c.execute(statement).scalars().all())

    async def _to_be_told(self, row: Mapping[Any, Any]) -> list[Job]:
        """The stand-in of an ended job that can't be read; none where nobody can be told."""
        try:
            job = job_rows.stand_in(row)
        except RecordUnreadableError:
            await self.mark_delivered(row["id"])
            return []
        failure = job.failure or UNREADABLE
        return [msgspec.structs.replace(job, state=JobState.FAILED, failure=failure)]

    async def in_hand(
        self,
        state: JobState,
        only: Sequence[int] | None = None,
        having: ColumnElement[bool] | None = None,
    ) -> list[Job]:
        """The queued or the running jobs, oldest first; those that can't be read fail."""
        statement = select(*JOB_COLUMNS).where(JobRow.state == state).order_by(JobRow.id)
        if having is not None:
            statement = statement.where(having)
        if only is not None:
            statement = statement.where(JobRow.id.in_(only))
        rows, pictures = await self._rows(statement)
        jobs: list[Job] = []
        broken: list[int] = []
        for row in rows:
            try:
                jobs.append(job_rows.read(row, pictures.get(row["id"], ())))
            except RecordUnreadableError:
                broken.append(row["id"])
        if broken:
            await self._give_up(broken)
        return jobs

    async def _rows(self, statement: Select[Any]) -> tuple[list[Mapping[Any, Any]], Pictures]:
        """The rows of a query for JOB_COLUMNS, and the pictures of their jobs."""

        def found(connection: Connection) -> tuple[list[Mapping[Any, Any]], Pictures]:
            rows = job_rows.rows_of(connection, statement)
            return rows, job_rows.pictures_of(connection, [row["id"] for row in rows])

        return await self._database.read(found)

    async def _give_up(self, job_ids: Sequence[int]) -> None:
        """Fail jobs that wait or run and can't be read, so that they are in nobody's way."""
        statement = (
            update(JobRow)
            .where(JobRow.id.in_(job_ids))
            .where(JobRow.state.in_(before(JobState.FAILED)))
            .values(state=JobState.FAILED, failure=UNREADABLE, ended_at=self._now())
        )
        await self._write(statement)

    async def _write(self, statement: Any) -> None:
        await self._database.write(lambda connection: connection.execute(statement))


def _running(job_id: int, lease: int | None) -> Update:
    """A change of a job that runs, by that claim."""
    statement = update(JobRow).where(JobRow.id == job_id, JobRow.state == JobState.RUNNING)
    return statement if lease is None else statement.where(JobRow.lease == lease)


def _hit(connection: Connection, statement: Update, job_id: int, lease: int | None) -> None:
    """Change a job. Raises IllegalTransitionError where its lease is another's."""
    if connection.execute(statement).rowcount == 0 and lease is not None:
        raise IllegalTransitionError(f"job {job_id} is not leased by claim {lease}")


def _move(
    connection: Connection, job_id: int, state: JobState, lease: int | None = None, **values: Any
) -> Job:
    """The transition to `state`, from whatever state leads to it, in one statement."""
    statement = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state.in_(before(state)))
        .values(state=state, **values)
        .returning(*JOB_COLUMNS)
    )
    if lease is not None:
        statement = statement.where(JobRow.lease == lease)
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise IllegalTransitionError(f"job {job_id} can't become {state}")
    pictures = job_rows.pictures_of(connection, [job_id])
    return job_rows.read(row, pictures.get(job_id, ()))
