"""New jobs: written in the order in which they came, many in one commit.

A commit waits for the disk, so a hundred people who ask in the same instant must not wait for a
hundred of them. Whoever comes while one is under way is written with the next. Within it each
request is held against what its owner may have, after all that were accepted before it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from generation.job import JobState
from storage import quota_usage
from storage.clock import Now
from storage.database import Database
from storage.job_reader import ASKED
from storage.quota_usage import Quota
from storage.tables import JobRow, UploadRow

BATCH_MAX: Final = 200
"""Jobs of one commit: databases bound how many values a statement may have."""


class AskingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one person may have; None where there is no limit."""

    waiting: int | None = None
    """Jobs that wait or run at once."""
    pictures: int | None = None
    """Pictures asked for on one server, or outside of all, within `window`."""
    window: timedelta = timedelta(days=1)


class LimitReachedError(Exception):
    """The job would go over what its owner may have; it was not written."""


class TooManyWaitingError(LimitReachedError):
    """So many of the person's jobs wait or run already."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class QuotaReachedError(LimitReachedError):
    """`used` are the times and numbers of the pictures within the window, oldest first."""

    def __init__(self, used: Sequence[tuple[datetime, int]], limit: int) -> None:
        super().__init__(limit)
        self.used = tuple(used)
        self.limit = limit


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is to be written: its columns, the files that it names, and its bounds."""

    columns: dict[str, Any]
    uploads: tuple[str, ...] = ()
    limits: AskingLimits = AskingLimits()
    held_for: timedelta | None = None
    """How long `asked_by` stands for this job; None for ever."""


class Written(msgspec.Struct, frozen=True):
    """A job is in the database: a new one since just now, or the one that was asked for before."""

    job_id: int
    created_at: datetime
    new: bool


class _Caller(msgspec.Struct, frozen=True):
    job: NewJob
    outcome: "asyncio.Future[Written]"


class Intake:
    """Writes new jobs. Satisfied callers may count on theirs whatever happens."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now
        self._callers: list[_Caller] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, job: NewJob) -> Written:
        """Write a job; when this returns it is on disk.

        Raises LimitReachedError, or what the database raises for this one.
        """
        caller = _Caller(job, asyncio.get_running_loop().create_future())
        self._callers.append(caller)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await caller.outcome

    async def close(self) -> None:
        """Wait until all that was handed in is written."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        some: list[_Caller] = []
        try:
            while self._callers:
                some, self._callers = self._callers[:BATCH_MAX], self._callers[BATCH_MAX:]
                some = [caller for caller in some if not caller.outcome.done()]
                await self._settle(some)
        finally:
            self._writing = None
            for caller in (*some, *self._callers):
                caller.outcome.cancel()  # without effect on those that are settled

    async def _settle(self, callers: list[_Caller]) -> None:
        try:
            jobs, now = [caller.job for caller in callers], self._now()
            outcomes = await self._database.write(
                lambda connection: _written(connection, jobs, now)
            )
        except Exception as error:  # noqa: BLE001 - it is handed to whom it concerns
            if len(callers) > 1:
                # one of them is at fault, and the others don't fail for it
                for caller in callers:
                    await self._settle([caller])
                return
            outcomes = [error]
        for caller, outcome in zip(callers, outcomes, strict=True):
            if caller.outcome.done():
                continue
            if isinstance(outcome, Exception):
                caller.outcome.set_exception(outcome)
            else:
                caller.outcome.set_result(outcome)


def _written(
    connection: Connection, jobs: list[NewJob], now: datetime
) -> list[Written | Exception]:
    """What became of each job, in one transaction."""
    outcomes: dict[int, Written | Exception] = {}
    accepted: dict[int, NewJob] = {}
    twice: dict[int, int] = {}
    known = _known(connection, jobs)
    counted = Counted(connection, jobs, now)
    asking: dict[str, int] = {}
    for place, job in enumerate(jobs):
        key = job.columns["asked_by"]
        before = known.get(key)
        if before is not None and _holds(job, before, now):
            outcomes[place] = before
        elif key in asking:
            twice[place] = asking[key]
        elif (error := counted.refusal(job)) is not None:
            outcomes[place] = error
        else:
            counted.add(job, now)
            accepted[place] = job
            if key is not None:
                asking[key] = place
    if accepted:
        _release(connection, [known[key] for key in asking if key in known])
        ids = insert_jobs(connection, accepted.values(), now)
        for place, job_id in zip(accepted, ids, strict=True):
            outcomes[place] = Written(job_id, now, True)
    for place, first in twice.items():
        written = outcomes[first]
        assert isinstance(written, Written)
        outcomes[place] = msgspec.structs.replace(written, new=False)
    return [outcomes[place] for place in range(len(jobs))]


class Counted:
    """What the people of a batch have, counted on as jobs are accepted; within the transaction
    that it was made in.
    """

    def __init__(self, connection: Connection, jobs: Sequence[NewJob], now: datetime) -> None:
        """Read what is there of everybody who has a limit."""
        self._connection = connection
        _lock_people(connection, jobs)
        self._waiting = _waiting_of(connection, jobs)
        self._since: dict[tuple[Quota, timedelta], datetime] = {}
        """Since when pictures count against a quota, by the window that it is for."""
        self._used: dict[tuple[Quota, datetime], int] = {}
        self._times: dict[tuple[Quota, datetime], Sequence[tuple[datetime, int]]] = {}
        """Of those that were refused."""
        self._accepted: dict[Quota, list[tuple[datetime, int]]] = {}
        self._read_quotas([job for job in jobs if job.limits.pictures is not None], now)

    def _read_quotas(self, jobs: Sequence[NewJob], now: datetime) -> None:
        if not jobs:
            return
        longest = now - max(job.limits.window for job in jobs)
        forgiven = quota_usage.resets(self._connection, map(_quota, jobs), longest)
        together: dict[datetime, set[Quota]] = {}
        for job in jobs:
            quota, begin = _quota(job), now - job.limits.window
            since = max(begin, forgiven.get(quota, begin))
            self._since[quota, job.limits.window] = since
            together.setdefault(since, set()).add(quota)
        for since, quotas in together.items():
            used = quota_usage.counts(self._connection, quotas, since)
            self._used |= {(quota, since): count for quota, count in used.items()}

    def refusal(self, job: NewJob) -> LimitReachedError | None:
        """Why a job may not be written."""
        waiting = self._waiting.get(job.columns["user_id"], 0)
        if job.limits.waiting is not None and waiting >= job.limits.waiting:
            return TooManyWaitingError(waiting)
        if job.limits.pictures is None:
            return None
        quota = _quota(job)
        since = self._since[quota, job.limits.window]
        accepted = self._accepted.get(quota, [])
        used = self._used[quota, since] + sum(count for _, count in accepted)
        if used + job.columns["image_count"] <= job.limits.pictures:
            return None
        if (quota, since) not in self._times:
            self._times[quota, since] = quota_usage.times(self._connection, quota, since)
        times = sorted([*self._times[quota, since], *accepted])
        return QuotaReachedError(times, job.limits.pictures)

    def add(self, job: NewJob, now: datetime) -> None:
        """Count a job that is accepted."""
        user = job.columns["user_id"]
        self._waiting[user] = self._waiting.get(user, 0) + 1
        self._accepted.setdefault(_quota(job), []).append((now, job.columns["image_count"]))


def _quota(job: NewJob) -> Quota:
    return job.columns["user_id"], job.columns["guild_id"]


def _waiting_of(connection: Connection, jobs: Sequence[NewJob]) -> dict[int, int]:
    """How many jobs of each who has a limit wait or run."""
    people = {job.columns["user_id"] for job in jobs if job.limits.waiting is not None}
    if not people:
        return {}
    statement = (
        select(JobRow.user_id, ASKED)
        .where(
            JobRow.user_id.in_(people),
            JobRow.state.in_((JobState.QUEUED, JobState.RUNNING)),
        )
        .group_by(JobRow.user_id)
    )
    return {row[0]: row[1] for row in connection.execute(statement)}


def _lock_people(connection: Connection, jobs: Sequence[NewJob]) -> None:
    """Keep other processes from counting what these people have until this transaction ends; on
    SQLite none can write meanwhile. In order, so that two don't wait for each other.
    """
    bounded = {j.columns["user_id"] for j in jobs if j.limits != AskingLimits()}
    if connection.dialect.name == "postgresql":
        for user_id in sorted(bounded):
            connection.execute(select(func.pg_advisory_xact_lock(user_id)))


def _known(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, Written]:
    """The jobs that the same events asked for before, by what asked."""
    keys = {key for job in jobs if (key := job.columns["asked_by"]) is not None}
    if not keys:
        return {}
    statement = select(JobRow.asked_by, JobRow.id, JobRow.created_at)
    rows = connection.execute(statement.where(JobRow.asked_by.in_(keys)))
    return {str(key): Written(job_id, when, False) for key, job_id, when in rows}


def _holds(job: NewJob, before: Written, now: datetime) -> bool:
    return job.held_for is None or before.created_at > now - job.held_for


def _release(connection: Connection, before: Sequence[Written]) -> None:
    """Jobs of long ago no longer stand for what asks again."""
    if before:
        ids = [written.job_id for written in before]
        connection.execute(update(JobRow).where(JobRow.id.in_(ids)).values(asked_by=None))


def insert_jobs(connection: Connection, jobs: Iterable[NewJob], now: datetime) -> Sequence[int]:
    """Write jobs, with the files that they name; returns their numbers."""
    jobs = list(jobs)
    statement = insert(JobRow).returning(JobRow.id, sort_by_parameter_order=True)
    parents = {job.columns["parent_id"] for job in jobs} - {None}
    there: set[int | None] = {None}
    if parents:
        found = connection.execute(select(JobRow.id).where(JobRow.id.in_(parents)))
        there |= set(found.scalars())
    rows = [
        # a parent may have been deleted since it was looked at
        {**job.columns, "parent_id": parent if parent in there else None, "created_at": now}
        for job in jobs
        for parent in (job.columns["parent_id"],)
    ]
    ids = connection.execute(statement, rows).scalars().all()
    uploads = [
        {"job_id": job_id, "file": file}
        for job_id, job in zip(ids, jobs, strict=True)
        for file in dict.fromkeys(job.uploads)
    ]
    if uploads:
        connection.execute(insert(UploadRow), uploads)
    return ids
