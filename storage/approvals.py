"""Pictures that wait for a moderator: what was asked, and what was decided."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, select, update

from storage.clock import Now, machine_time
from storage.database import Database
from storage.inserting import insert_into
from storage.job_reader import VISIBLE
from storage.tables import ApprovalRow, JobRow

Verdict = Literal["waiting", "approved", "denied"]


class Approval(msgspec.Struct, frozen=True):
    """One question. `channel_id` and `message_id` are of the message that asks it."""

    job_id: int
    guild_id: int
    verdict: Verdict
    channel_id: int | None = None
    message_id: int | None = None
    decided_by: int | None = None
    decided_at: datetime | None = None


COLUMNS: Final = (
    ApprovalRow.job_id,
    ApprovalRow.guild_id,
    ApprovalRow.verdict,
    ApprovalRow.channel_id,
    ApprovalRow.message_id,
    ApprovalRow.decided_by,
    ApprovalRow.decided_at,
)


def _approval(row: Any) -> Approval:
    return msgspec.convert(row._mapping, Approval)


class ApprovalStore:
    """What a stop must not lose, and a restart must still find."""

    def __init__(self, database: Database, now: Now = machine_time, process: str = "") -> None:
        self._database = database
        self._now = now
        self._process = process
        self._listeners: list[Callable[[int], None]] = []

    def listen(self, listener: Callable[[int], None]) -> None:
        """Have `listener` told the numbers of jobs about which a moderator is to be asked."""
        self._listeners.append(listener)

    async def of(self, job_id: int) -> Approval | None:
        """What was asked about a job; None where nothing was."""
        statement = select(*COLUMNS).where(ApprovalRow.job_id == job_id)
        row = await self._database.read(lambda c: c.execute(statement).one_or_none())
        return None if row is None else _approval(row)

    async def ask(self, job_id: int, guild_id: int, *, now: bool = True) -> None:
        """Note that a moderator is to be asked: once, and not of a deleted job.

        With `now` the listeners are told, who ask; else that is for whoever notes it.
        """
        row = insert_into(self._database.dialect, ApprovalRow).values(
            job_id=job_id, guild_id=guild_id, verdict="waiting", asked_at=self._now()
        )

        def write(connection: Connection) -> bool:
            # locked, so that it is not deleted between the look and the note
            there = select(JobRow.id).where(JobRow.id == job_id)
            there = there.with_for_update(read=True, key_share=True)
            if connection.execute(there).scalar_one_or_none() is None:
                return False
            return connection.execute(row.on_conflict_do_nothing()).rowcount > 0

        if await self._database.write(write) and now:
            for listener in self._listeners:
                listener(job_id)

    async def asked(self, job_id: int, channel_id: int, message_id: int) -> bool:
        """Note the message that asks; False where its job was deleted meanwhile."""
        statement = (
            update(ApprovalRow)
            .where(ApprovalRow.job_id == job_id)
            .values(channel_id=channel_id, message_id=message_id)
        )
        return await self._database.write(lambda c: c.execute(statement).rowcount) > 0

    async def decide(
        self, job_id: int, verdict: Literal["approved", "denied"], by: int
    ) -> tuple[Approval | None, bool]:
        """What holds now, and whether this was what decided it: the first who decides does.

        None where its job was deleted meanwhile.
        """
        change = (
            update(ApprovalRow)
            .where(ApprovalRow.job_id == job_id, ApprovalRow.verdict == "waiting")
            .values(verdict=verdict, decided_by=by, decided_at=self._now())
        )
        look = select(*COLUMNS).where(ApprovalRow.job_id == job_id)

        def write(connection: Connection) -> tuple[Approval | None, bool]:
            decided = connection.execute(change).rowcount > 0
            row = connection.execute(look).one_or_none()
            return (None if row is None else _approval(row)), decided

        return await self._database.write(write)

    async def unasked(self, guild_id: int | None = None) -> Sequence[int]:
        """The numbers of jobs about which no message asks yet, oldest first; with `guild_id` those
        of one server.
        """
        statement = (
            select(ApprovalRow.job_id)
            .join(JobRow, JobRow.id == ApprovalRow.job_id)
            .where(
                ApprovalRow.verdict == "waiting",
                ApprovalRow.message_id.is_(None),
                JobRow.process == self._process,
                VISIBLE,
            )
            .order_by(ApprovalRow.job_id)
        )
        if guild_id is not None:
            statement = statement.where(ApprovalRow.guild_id == guild_id)
        return await self._database.read(lambda c: c.execute(statement).scalars().all())

    async def told(self, job_id: int) -> None:
        """Note that the result of a job shows what was decided."""
        statement = update(ApprovalRow).where(ApprovalRow.job_id == job_id).values(told=True)
        await self._database.write(lambda connection: connection.execute(statement))

    async def untold(self) -> Sequence[int]:
        """The numbers of delivered jobs whose results may not show what was decided."""
        statement = (
            select(ApprovalRow.job_id)
            .join(JobRow, JobRow.id == ApprovalRow.job_id)
            .where(
                ApprovalRow.verdict != "waiting",
                ApprovalRow.told.is_(False),
                JobRow.delivered_at.is_not(None),
                JobRow.process == self._process,
                VISIBLE,
            )
            .order_by(ApprovalRow.job_id)
        )
        return await self._database.read(lambda c: c.execute(statement).scalars().all())
