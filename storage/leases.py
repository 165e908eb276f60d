"""Which processes and workers live, where several share a database, and what becomes of what was in
the hands of those that don't.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, exists, func, or_, select, update

from generation.elsewhere import WorkerStatus
from generation.job import Job, JobState
from storage.clock import Now
from storage.database import Database
from storage.inserting import insert_into
from storage.jobs import JobStore
from storage.tables import ApprovalRow, JobRow, OwedRow, WorkerRow


class LeaseStore:
    """The workers of all processes, and when they last said that they live."""

    def __init__(self, database: Database, jobs: JobStore, now: Now) -> None:
        self._database = database
        self._jobs = jobs
        self._now = now
        self.at_server = database.dialect.name == "postgresql"
        """Whether it is the database server that tells the time: machines' clocks differ."""
        self.process = jobs.process

    async def beat(self, workers: Sequence[WorkerStatus]) -> None:
        """Note that this process lives, and that it has these workers and no others."""
        now = await self._time()
        names = [self.process, *(worker.name for worker in workers)]
        # the process itself lives without workers, too
        told = [None, *(msgspec.json.encode(worker).decode() for worker in workers)]
        rows = [
            {"name": name, "process": self.process, "seen_at": now, "status": status}
            for name, status in zip(names, told, strict=True)
        ]
        gone = delete(WorkerRow).where(
            WorkerRow.process == self.process, WorkerRow.name.not_in(names)
        )
        row = insert_into(self._database.dialect, WorkerRow)
        row = row.on_conflict_do_update(
            index_elements=["name"],
            set_={name: row.excluded[name] for name in ("process", "seen_at", "status")},
        )

        def note(connection: Connection) -> None:
            connection.execute(gone)
            connection.execute(row, rows)

        await self._database.write(note)

    async def recover(self) -> list[Job]:
        """As `JobStore.recover`, but only what was in the hands of this process's workers, or of
        none that is known: other processes have theirs in hand.
        """
        others = select(WorkerRow.name).where(WorkerRow.process != self.process)
        own = or_(JobRow.worker.is_(None), JobRow.worker.not_in(others))
        return await self._take_back(own)

    async def take_from_silent(self, silent_for: timedelta) -> list[Job]:
        """Put the jobs of workers that have said nothing for so long back into the queue."""
        since = await self._time() - silent_for
        silent = select(WorkerRow.name).where(WorkerRow.seen_at < since)
        return await self._take_back(JobRow.worker.in_(silent))

    async def others(self, silent_for: timedelta) -> list[WorkerStatus]:
        """The workers of other processes that have said something for so long, as they are now."""
        now = await self._time()
        statement = (
            select(WorkerRow.status, WorkerRow.seen_at)
            .where(WorkerRow.process != self.process, WorkerRow.seen_at >= now - silent_for)
            .where(WorkerRow.status.is_not(None))
            .order_by(WorkerRow.name)
        )
        found = []
        for text, seen_at in await self._database.read(lambda c: c.execute(statement).all()):
            try:
                status = msgspec.json.decode(text or "", type=WorkerStatus)
            except msgspec.DecodeError:
                continue  # of another version, while one after the other is updated
            left = status.seconds_left - (now - seen_at).total_seconds()
            found.append(msgspec.structs.replace(status, seconds_left=max(0.0, left)))
        return found

    async def drawn_elsewhere(self) -> list[tuple[str, Job]]:
        """What workers of other processes draw, with their names, oldest first."""
        others = select(WorkerRow.name).where(WorkerRow.process != self.process)
        theirs = JobRow.worker.in_(others)
        names = select(JobRow.id, JobRow.worker).where(JobRow.state == JobState.RUNNING, theirs)
        rows = await self._database.read(lambda c: c.execute(names).all())
        drawn_by = {number: str(worker) for number, worker in rows}
        jobs = await self._jobs.in_hand(JobState.RUNNING, list(drawn_by))
        return [(drawn_by[job.id], job) for job in jobs]

    async def adopt(self, silent_for: timedelta) -> list[int]:
        """Make what is not done yet of processes that have said nothing for so long, or are not
        known, this one's: what is to be drawn, delivered, mentioned, or shown to a moderator.
        Returns the numbers of these jobs.
        """
        since = await self._time() - silent_for
        living = select(WorkerRow.process).where(WorkerRow.seen_at >= since)
        open_ = or_(
            JobRow.delivered_at.is_(None),
            exists().where(OwedRow.job_id == JobRow.id),
            exists().where(
                ApprovalRow.job_id == JobRow.id,
                or_(ApprovalRow.verdict == "waiting", ApprovalRow.told.is_(False)),
            ),
        )
        statement = (
            update(JobRow)
            .where(JobRow.process != self.process, JobRow.process.not_in(living), open_)
            .values(process=self.process)
            .returning(JobRow.id)
        )
        return sorted(await self._database.write(lambda c: c.execute(statement).scalars().all()))

    async def _time(self) -> datetime:
        if not self.at_server:
            return self._now()
        clock = select(func.clock_timestamp())
        return await self._database.read(lambda c: c.execute(clock).scalar_one())

    async def _take_back(self, having: ColumnElement[bool]) -> list[Job]:
        return await self._jobs.take_back(await self._jobs.in_hand(JobState.RUNNING, having=having))
