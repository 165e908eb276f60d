"""What is still to be done about a result that its owner has: noted until it is done."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, select, update

from storage.database import Database
from storage.inserting import insert_into
from storage.job_reader import VISIBLE
from storage.tables import JobRow, OwedRow


class Owed(msgspec.Struct, frozen=True):
    """One thing about one message; `kind` is one of OwedRow's."""

    kind: str
    job_id: int
    channel_id: int
    message_id: int
    position: int | None = None


class OwedStore:
    """What a stop must not lose."""

    def __init__(self, database: Database, process: str = "") -> None:
        self._database = database
        self._process = process

    async def note(self, owed: Sequence[Owed]) -> None:
        """Note it; again is no error. Of a job that was deleted nothing is owed."""
        row = insert_into(self._database.dialect, OwedRow).on_conflict_do_nothing()

        def write(connection: Connection) -> None:
            for each in owed:
                # locked, so that it is not deleted between the look and the note
                there = select(JobRow.id).where(JobRow.id == each.job_id)
                there = there.with_for_update(read=True, key_share=True)
                if connection.execute(there).scalar_one_or_none() is not None:
                    connection.execute(row.values(msgspec.structs.asdict(each)))

        if owed:
            await self._database.write(write)

    async def turn(self, owed: Owed, kind: str) -> Owed | None:
        """Note that it is something else now that is owed; returns that.

        None where it is owed no more: its job was deleted.
        """
        statement = (
            update(OwedRow)
            .where(OwedRow.message_id == owed.message_id, OwedRow.kind == owed.kind)
            .values(kind=kind)
            .returning(OwedRow.kind)
        )
        found = await self._database.write(lambda c: c.execute(statement).scalar_one_or_none())
        return msgspec.structs.replace(owed, kind=kind) if found is not None else None

    async def done(self, owed: Owed) -> None:
        """Note that it is done, or that nothing can be done."""
        statement = delete(OwedRow).where(
            OwedRow.message_id == owed.message_id, OwedRow.kind == owed.kind
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def left(self) -> Sequence[Owed]:
        """What is owed for jobs of this process, oldest first; not those that are yet to be
        delivered.
        """
        columns = (
            OwedRow.kind,
            OwedRow.job_id,
            OwedRow.channel_id,
            OwedRow.message_id,
            OwedRow.position,
        )
        statement = (
            select(*columns)
            .join(JobRow, JobRow.id == OwedRow.job_id)
            .where(JobRow.delivered_at.is_not(None), JobRow.process == self._process, VISIBLE)
            .order_by(OwedRow.message_id)
        )
        rows = await self._database.read(lambda c: c.execute(statement).all())
        return [Owed(*row) for row in rows]
