"""Numbers for the owner: how many jobs, how long they took."""

import math
import statistics
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, String, func, select, type_coerce

from generation.job import Job, JobState
from storage import job_rows
from storage.database import Database
from storage.job_rows import JOB_COLUMNS
from storage.tables import JobRow

RECENT = 1000
"""Finished jobs that the times are taken from."""


class ModelTimes(msgspec.Struct, frozen=True):
    """Seconds a picture of one model, loading left out."""

    model: str
    pictures: int
    median: float
    p95: float


class Statistics(msgspec.Struct, frozen=True):
    """What was made since the beginning, and since a time."""

    total: dict[JobState, int]
    recent: dict[JobState, int]
    times: tuple[ModelTimes, ...]
    memory_peak: int
    """Bytes of device memory at most, of recent jobs; 0 where the device does not tell."""


class StatisticsStore:
    """Sums over all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, when: datetime) -> Statistics:
        """Everything, with the jobs since `when` counted apart."""
        state = type_coerce(JobRow.state, String)
        by_state = select(state, func.count()).group_by(state)
        # grouped by no column, so that the index of times is taken and not that of states
        one = state.concat("")
        lately = select(one, func.count()).where(JobRow.created_at > when).group_by(one)
        made = (
            select(*JOB_COLUMNS)
            .where(JobRow.state == JobState.FINISHED, JobRow.provenance.is_not(None))
            .order_by(JobRow.id.desc())
            .limit(RECENT)
        )

        def counted(connection: Connection) -> Statistics:
            total = _counts(connection.execute(by_state))
            recent = _counts(connection.execute(lately))
            jobs = job_rows.readable(job_rows.rows_of(connection, made), {})
            return Statistics(total, recent, *_times(jobs))

        return await self._database.read(counted)


def _times(jobs: Iterable[Job]) -> tuple[tuple[ModelTimes, ...], int]:
    """What a picture takes by model, and the most memory that one took."""
    seconds: dict[str, list[float]] = {}
    pictures: dict[str, int] = {}
    peak = 0
    for job in jobs:
        request, provenance = job.request, job.provenance
        if provenance is None:
            continue  # it is there, and can't be read
        each = (provenance.seconds - provenance.seconds_loading) / request.count
        seconds.setdefault(request.made_with, []).append(each)
        pictures[request.made_with] = pictures.get(request.made_with, 0) + request.count
        peak = max(peak, provenance.memory_peak)
    times = tuple(
        ModelTimes(model, pictures[model], statistics.median(found), _p95(found))
        for model, found in sorted(seconds.items())
    )
    return times, peak


def _counts(rows: Iterable[Any]) -> dict[JobState, int]:
    known = {state.value for state in JobState}
    return {JobState(state): count for state, count in rows if state in known}


def _p95(values: list[float]) -> float:
    """The least value that 95 % of all are not above."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
