"""The jobs: written down before they are acknowledged, claimed by one statement, never lost."""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from generation.estimate import Measurement
from generation.job import (
    TRIES_AFTER_RESTART,
    Failure,
    IllegalTransitionError,
    Job,
    JobState,
    Origin,
    PictureRecord,
    Provenance,
    before,
)
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.pictures import PictureFiles, PictureMissingError
from storage.tables import JobRow, MessageRow, PictureRow

JOBS = JobRow.__table__
PICTURES = PictureRow.__table__
MESSAGES = MessageRow.__table__
MEASURED = 300
"""Finished jobs that the estimates go by."""


class JobStore:
    """All jobs and their pictures and messages. Satisfies `generation.worker.JobQueue`."""

    def __init__(self, database: AsyncEngine, files: PictureFiles) -> None:
        self._database = database
        self._files = files

    # asking

    async def add(
        self,
        request: GenerationRequest,
        origin: Origin,
        *,
        action: str = "imagine",
        parent: int | None = None,
        parent_picture: int | None = None,
        preset: str | None = None,
    ) -> Job:
        """Write a request down; when this returns, it will be answered whatever happens."""
        now = datetime.now(UTC)
        values = {
            "state": JobState.QUEUED,
            "request": request,
            "origin": origin,
            "action": action,
            "parent_id": parent,
            "parent_picture": parent_picture,
            "preset": preset,
            "model": request.model,
            "words": request.prompt.casefold(),
            "user_id": origin.user_id,
            "guild_id": origin.guild_id,
            "channel_id": origin.channel_id,
            "attempts": 0,
            "created_at": now,
        }
        async with self._database.begin() as connection:
            result = await connection.execute(insert(JobRow).values(values).returning(JobRow.id))
            job_id = result.scalar_one()
        return Job(
            id=job_id,
            state=JobState.QUEUED,
            request=request,
            origin=origin,
            parent=parent,
            parent_picture=parent_picture,
            preset=preset,
            action=action,
            created_at=now,
        )

    async def keep_upload(self, data: bytes) -> str:
        """Keep an init or control picture; returns the hash that a request refers to it by."""
        return await self._files.write(data)

    async def read_upload(self, sha256: str) -> bytes:
        """The file of a kept picture. Raises Refused when it is gone."""
        try:
            return await self._files.read(sha256)
        except PictureMissingError as error:
            raise Refused("picture_gone") from error

    # the states

    async def claim(self, job_id: int) -> Job | None:
        """Make a queued job running, in one statement; None when it is no longer queued."""
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.QUEUED)
            .values(state=JobState.RUNNING, started_at=datetime.now(UTC))
            .returning(*JOBS.c)
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _job(row, ())

    async def begin(self, job_id: int) -> None:
        """Note that the pictures of a running job were begun: one more of its tries."""
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.RUNNING)
            .values(attempts=JobRow.attempts + 1)
        )
        async with self._database.begin() as connection:
            await connection.execute(statement)

    async def requeue(self, job_id: int, attempts: int | None = None) -> Job:
        """Make a running job queued again, without the pictures that it had; with `attempts`, as
        one that was begun only so many times.
        """
        values = {} if attempts is None else {"attempts": attempts}
        async with self._database.begin() as connection:
            await connection.execute(delete(PictureRow).where(PictureRow.job_id == job_id))
            return await self._move(connection, job_id, JobState.QUEUED, **values)

    async def finish(self, job_id: int, provenance: Provenance) -> Job:
        """Make a running job finished."""
        async with self._database.begin() as connection:
            return await self._move(
                connection,
                job_id,
                JobState.FINISHED,
                provenance=provenance,
                ended_at=datetime.now(UTC),
            )

    async def fail(self, job_id: int, failure: Failure) -> Job:
        """End a job without all of its pictures: cancelled when that is the failure, else failed.

        Raises IllegalTransitionError when it has ended already.
        """
        state = JobState.CANCELLED if failure.code == "cancelled" else JobState.FAILED
        async with self._database.begin() as connection:
            return await self._move(
                connection, job_id, state, failure=failure, ended_at=datetime.now(UTC)
            )

    async def cancel_waiting(self, job_id: int) -> Job | None:
        """Cancel a job that still waits; None when it runs or has ended."""
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.QUEUED)
            .values(
                state=JobState.CANCELLED,
                failure=Failure("cancelled"),
                ended_at=datetime.now(UTC),
            )
            .returning(*JOBS.c)
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _job(row, ())

    async def recover(self) -> list[Job]:
        """Put the jobs that ran when the bot stopped back into the queue; those begun too often
        end with the reason. To be called once, before the worker starts.
        """
        running = await self._jobs(select(*JOBS.c).where(JobRow.state == JobState.RUNNING))
        recovered = []
        for job in running:
            if job.attempts < TRIES_AFTER_RESTART:
                recovered.append(await self.requeue(job.id))
            else:
                recovered.append(await self.fail(job.id, Failure("interrupted_too_often")))
        return recovered

    async def add_picture(self, job_id: int, picture: PictureRecord, png: bytes) -> None:
        """Keep a finished picture; a second one of the same index replaces the first."""
        file = await self._files.write(png)
        async with self._database.begin() as connection:
            await connection.execute(
                delete(PictureRow).where(
                    PictureRow.job_id == job_id, PictureRow.position == picture.index
                )
            )
            await connection.execute(
                insert(PictureRow).values(
                    job_id=job_id,
                    position=picture.index,
                    seed=picture.seed,
                    width=picture.width,
                    height=picture.height,
                    file=file,
                    pixels_sha256=picture.pixels_sha256,
                    variation_seed=picture.variation_seed,
                    unsafe=picture.unsafe,
                )
            )

    async def mark_delivered(self, job_id: int) -> None:
        """Note that its owner has been told how it ended."""
        async with self._database.begin() as connection:
            await connection.execute(
                update(JobRow).where(JobRow.id == job_id).values(delivered_at=datetime.now(UTC))
            )

    # looking

    async def get(self, job_id: int) -> Job | None:
        """A job with its pictures."""
        jobs = await self._jobs(select(*JOBS.c).where(JobRow.id == job_id))
        return jobs[0] if jobs else None

    async def waiting(self) -> Sequence[Job]:
        """The queued jobs, oldest first."""
        return await self._jobs(select(*JOBS.c).where(JobRow.state == JobState.QUEUED))

    async def measurements(self) -> Sequence[Measurement]:
        """How long recent jobs took, in the order of their making, newest first."""
        statement = (
            select(JobRow.request, JobRow.provenance, JobRow.ended_at)
            .where(JobRow.state == JobState.FINISHED, JobRow.provenance.is_not(None))
            .order_by(JobRow.id.desc())
            .limit(MEASURED)
        )
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return [
            Measurement(request, provenance.seconds, provenance.seconds_loading)
            for request, provenance, _ in sorted(rows, key=itemgetter(2), reverse=True)
            if provenance is not None
        ]

    async def undelivered(self) -> Sequence[Job]:
        """Ended jobs whose owners have not been told, oldest first."""
        ended = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        return await self._jobs(
            select(*JOBS.c).where(JobRow.state.in_(ended), JobRow.delivered_at.is_(None))
        )

    async def count_waiting(self, user_id: int) -> int:
        """How many jobs of this person wait or run."""
        statement = select(func.count()).where(
            JobRow.user_id == user_id, JobRow.state.in_((JobState.QUEUED, JobState.RUNNING))
        )
        async with self._database.connect() as connection:
            return int((await connection.execute(statement)).scalar_one())

    async def read_picture(self, picture: PictureRecord) -> bytes:
        """The PNG of a finished picture. Raises PictureMissingError."""
        return await self._files.read(picture.file)

    # messages

    async def add_message(
        self,
        message_id: int,
        channel_id: int,
        job_id: int,
        kind: str,
        *,
        position: int | None = None,
    ) -> None:
        """Note which job a message shows; `kind` is one of MessageRow's.

        With `position` it shows that picture alone.
        """
        async with self._database.begin() as connection:
            await connection.execute(delete(MessageRow).where(MessageRow.message_id == message_id))
            await connection.execute(
                insert(MessageRow).values(
                    message_id=message_id,
                    channel_id=channel_id,
                    job_id=job_id,
                    kind=kind,
                    position=position,
                    created_at=datetime.now(UTC),
                )
            )

    async def shown_by(self, message_id: int) -> tuple[Job, int | None] | None:
        """The job that a message shows, and the one picture of it where it shows only that."""
        statement = select(MessageRow.job_id, MessageRow.position).where(
            MessageRow.message_id == message_id
        )
        async with self._database.connect() as connection:
            row = (await connection.execute(statement)).one_or_none()
        job = None if row is None else await self.get(row.job_id)
        return None if row is None or job is None else (job, row.position)

    async def messages_of(self, job_id: int, kind: str) -> list[tuple[int, int]]:
        """The messages that show a job, as (channel id, message id), oldest first."""
        statement = (
            select(MessageRow.channel_id, MessageRow.message_id)
            .where(MessageRow.job_id == job_id, MessageRow.kind == kind)
            .order_by(MessageRow.message_id)
        )
        async with self._database.connect() as connection:
            return [(row[0], row[1]) for row in await connection.execute(statement)]

    async def _move(
        self, connection: AsyncConnection, job_id: int, state: JobState, **values: Any
    ) -> Job:
        """The transition to `state`, from whatever state leads to it, in one statement."""
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(before(state)))
            .values(state=state, **values)
            .returning(*JOBS.c)
        )
        row = (await connection.execute(statement)).mappings().one_or_none()
        if row is None:
            raise IllegalTransitionError(f"job {job_id} can't become {state}")
        pictures = await self._pictures(connection, [job_id])
        return _job(row, pictures.get(job_id, ()))

    async def _jobs(self, statement: Select[Any]) -> list[Job]:
        return await self.matching(statement.order_by(JobRow.id))

    async def matching(self, statement: Select[Any]) -> list[Job]:
        """The jobs of a query for all of JOBS' columns, in its order."""
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).mappings().all()
            pictures = await self._pictures(connection, [row["id"] for row in rows])
        return [_job(row, pictures.get(row["id"], ())) for row in rows]

    async def _pictures(
        self, connection: AsyncConnection, job_ids: Sequence[int]
    ) -> dict[int, tuple[PictureRecord, ...]]:
        if not job_ids:
            return {}
        statement = (
            select(*PICTURES.c)
            .where(PictureRow.job_id.in_(job_ids))
            .order_by(PictureRow.job_id, PictureRow.position)
        )
        found: dict[int, tuple[PictureRecord, ...]] = {}
        for row in (await connection.execute(statement)).mappings():
            record = PictureRecord(
                index=row["position"],
                seed=row["seed"],
                width=row["width"],
                height=row["height"],
                file=row["file"],
                pixels_sha256=row["pixels_sha256"],
                variation_seed=row["variation_seed"],
                unsafe=row["unsafe"],
            )
            found[row["job_id"]] = (*found.get(row["job_id"], ()), record)
        return found


def _job(row: Any, pictures: tuple[PictureRecord, ...]) -> Job:
    return Job(
        id=row["id"],
        state=row["state"],
        request=row["request"],
        origin=row["origin"],
        parent=row["parent_id"],
        parent_picture=row["parent_picture"],
        preset=row["preset"],
        action=row["action"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        delivered_at=row["delivered_at"],
        failure=row["failure"],
        provenance=row["provenance"],
        pictures=pictures,
    )
