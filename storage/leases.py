"""Which processes and workers live, where several share a database, and what becomes of what was in
the hands of those that don't.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from generation.job import Job, JobState
from storage.clock import Now
from storage.database import Database
from storage.inserting import insert_into
from storage.jobs import JobStore
from storage.tables import JobRow, WorkerRow


class LeaseStore:
    """The workers of all processes, and when they last said that they live."""

    def __init__(self, database: Database, jobs: JobStore, now: Now) -> None:
        self._database = database
        self._jobs = jobs
        self._now = now
        self.process = jobs.process

    async def beat(self, workers: Sequence[str]) -> None:
        """Note that this process lives, and that it has these workers and no others."""
        now = self._now()
        # the process itself lives without workers, too
        names = [self.process, *workers]
        rows = [{"name": name, "process": self.process, "seen_at": now} for name in names]
        gone = delete(WorkerRow).where(
            WorkerRow.process == self.process, WorkerRow.name.not_in(names)
        )
        row = insert_into(self._database.dialect, WorkerRow)
        row = row.on_conflict_do_update(
            index_elements=["name"],
            set_={"process": row.excluded.process, "seen_at": row.excluded.seen_at},
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
        silent = select(WorkerRow.name).where(WorkerRow.seen_at < self._now() - silent_for)
        return await self._take_back(JobRow.worker.in_(silent))

    async def adopt(self, silent_for: timedelta) -> int:
        """Make what is not delivered yet of processes that have said nothing for so long, or are
        not known, this one's; returns how many jobs that were.
        """
        living = select(WorkerRow.process).where(WorkerRow.seen_at >= self._now() - silent_for)
        statement = (
            update(JobRow)
            .where(JobRow.process != self.process, JobRow.process.not_in(living))
            .where(JobRow.delivered_at.is_(None))
            .values(process=self.process)
        )
        return await self._database.write(lambda c: c.execute(statement).rowcount)

    async def _take_back(self, having: ColumnElement[bool]) -> list[Job]:
        return await self._jobs.take_back(await self._jobs.in_hand(JobState.RUNNING, having=having))
