"""Grids: proposed, confirmed, drawn as jobs of their own, shown in one message."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, exists, insert, select, update

from generation.grids import GridPlan
from generation.job import GridPlace, Job, JobState, Origin, PresetUse
from generation.request import GenerationRequest
from storage import job_rows
from storage.clock import Now, machine_time
from storage.database import Database
from storage.intake import AskingLimits, Counted, NewJob, insert_jobs
from storage.job_reader import VISIBLE
from storage.job_rows import JOB_COLUMNS
from storage.tables import GridRow, JobRow

PROPOSED, ASKED, DONE = "proposed", "asked", "done"
"""The states of a grid, in this order."""


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """A grid. `channel_id` and `message_id` are of the message that shows it."""

    id: int
    user_id: int
    state: str
    plan: GridPlan
    created_at: datetime
    channel_id: int | None = None
    message_id: int | None = None


class NewCell(msgspec.Struct, frozen=True):
    """One picture that is to be drawn, and its place."""

    place: int
    request: GenerationRequest
    preset: PresetUse | None = None


COLUMNS: Final = (
    GridRow.id,
    GridRow.user_id,
    GridRow.state,
    GridRow.plan,
    GridRow.created_at,
    GridRow.channel_id,
    GridRow.message_id,
)


class GridStore:
    """The grids of everybody."""

    def __init__(self, database: Database, now: Now = machine_time, process: str = "") -> None:
        self._database = database
        self._now = now
        self._process = process

    async def propose(self, user_id: int, plan: GridPlan) -> int:
        """Keep a grid until its owner confirms it; returns its number."""
        row = insert(GridRow).values(
            user_id=user_id, state=PROPOSED, plan=plan, created_at=self._now()
        )
        statement = row.returning(GridRow.id)
        return await self._database.write(lambda c: int(c.execute(statement).scalar_one()))

    async def get(self, grid_id: int) -> Grid | None:
        """A grid."""
        statement = select(*COLUMNS).where(GridRow.id == grid_id)
        row = await self._database.read(lambda c: c.execute(statement).mappings().one_or_none())
        return None if row is None else Grid(**row)

    async def ask(
        self,
        grid: Grid,
        cells: Sequence[NewCell],
        origin: Origin,
        limits: AskingLimits,
    ) -> list[Job] | None:
        """Make a proposed grid the jobs of its pictures, all of them or none, in this order.

        It is one of those that may wait. None where it is proposed no more. Raises
        LimitReachedError.
        """
        now = self._now()
        news = [
            NewJob(
                columns=job_rows.columns_of(
                    cell.request,
                    origin,
                    action="grid",
                    preset=cell.preset,
                    grid_id=grid.id,
                    grid_place=cell.place,
                    process=self._process,
                ),
                uploads=cell.request.uploads,
            )
            for cell in cells
        ]
        whole = NewJob(columns={**news[0].columns, "image_count": len(news)}, limits=limits)
        begin = (
            update(GridRow)
            .where(GridRow.id == grid.id, GridRow.state == PROPOSED)
            .values(state=ASKED)
        )

        def write(connection: Connection) -> Sequence[int]:
            if not connection.execute(begin).rowcount:
                return ()
            refused = Counted(connection, [whole], now).refusal(whole)
            if refused is not None:
                raise refused
            return insert_jobs(connection, news, now)

        ids = await self._database.write(write)
        if not ids:
            return None
        return [
            Job(
                id=job_id,
                state=JobState.QUEUED,
                request=cell.request,
                origin=origin,
                preset=cell.preset,
                action="grid",
                created_at=now,
                grid=GridPlace(grid.id, cell.place),
                process=self._process,
            )
            for job_id, cell in zip(ids, cells, strict=True)
        ]

    async def cells(self, grid_id: int) -> list[Job]:
        """The jobs of a grid with their pictures, by their places; not those that were deleted."""
        statement = (
            select(*JOB_COLUMNS)
            .where(JobRow.grid_id == grid_id, VISIBLE)
            .order_by(JobRow.grid_place)
        )
        return await self._database.read(lambda c: job_rows.jobs_of(c, statement))

    async def shown(self, grid_id: int, channel_id: int, message_id: int) -> None:
        """Note the message that shows it."""
        await self._change(grid_id, channel_id=channel_id, message_id=message_id)

    async def done(self, grid_id: int) -> None:
        """Note that it is drawn and delivered, with its jobs."""
        now = self._now()
        delivered = (
            update(JobRow)
            .where(JobRow.grid_id == grid_id, JobRow.delivered_at.is_(None))
            .values(delivered_at=now)
        )
        finished = update(GridRow).where(GridRow.id == grid_id).values(state=DONE)

        def write(connection: Connection) -> None:
            connection.execute(delivered)
            connection.execute(finished)

        await self._database.write(write)

    async def undelivered(self) -> Sequence[int]:
        """The numbers of those of this process that are being drawn, oldest first."""
        own = exists().where(JobRow.grid_id == GridRow.id, JobRow.process == self._process)
        statement = select(GridRow.id).where(GridRow.state == ASKED, own).order_by(GridRow.id)
        return await self._database.read(lambda c: c.execute(statement).scalars().all())

    async def _change(self, grid_id: int, **values: Any) -> None:
        statement = update(GridRow).where(GridRow.id == grid_id).values(**values)
        await self._database.write(lambda connection: connection.execute(statement))
