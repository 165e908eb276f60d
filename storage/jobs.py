"""The jobs: written down before they are acknowledged, with their pictures and messages."""

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from generation.job import (
    Job,
    JobState,
    Origin,
    PresetUse,
)
from generation.picture_files import size_of
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage import job_rows
from storage.clock import Now, machine_time
from storage.database import Database
from storage.inserting import insert_into
from storage.intake import AskingLimits, Intake, NewJob
from storage.job_states import JobStates
from storage.owed import OwedStore
from storage.picture_store import PictureMissingError, PictureStore
from storage.tables import (
    HandedInRow,
    JobRow,
    MessageRow,
    TakeBackRow,
)

HEAD: Final = 2**12
"""Bytes of a picture's file that say its size in most kinds."""


class JobStore(JobStates):
    """All jobs and their pictures and messages. Satisfies `generation.job_queue.JobQueue`."""

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        now: Now = machine_time,
        process: str = "",
    ) -> None:
        super().__init__(database, files, now, process)
        self._intake = Intake(database, now)
        self.owed = OwedStore(database, process)

    # asking

    async def add(
        self,
        request: GenerationRequest,
        origin: Origin,
        *,
        action: str = "imagine",
        parent: int | None = None,
        parent_picture: int | None = None,
        preset: PresetUse | None = None,
        asked_by: str | None = None,
        held_for: timedelta | None = None,
        limits: AskingLimits | None = None,
    ) -> Job:
        """Write a request down; when this returns, it will be answered whatever happens.

        `asked_by` names the event that asks: where it has asked before, within `held_for` if that
        is given, the job of then is returned. Raises LimitReachedError where `limits` are reached.
        """
        columns = job_rows.columns_of(
            request,
            origin,
            action=action,
            preset=preset,
            parent_id=parent,
            parent_picture=parent_picture,
            asked_by=asked_by,
            process=self.process,
        )
        written = await self._intake.add(
            NewJob(
                columns=columns,
                uploads=request.uploads,
                limits=limits or AskingLimits(),
                held_for=held_for,
            )
        )
        if not written.new and (there := await self.get(written.job_id)) is not None:
            return there
        return Job(
            id=written.job_id,
            state=JobState.QUEUED,
            request=request,
            origin=origin,
            parent=parent,
            parent_picture=parent_picture,
            preset=preset,
            action=action,
            process=self.process,
            created_at=written.created_at,
        )

    async def close(self) -> None:
        """Wait until everything that was asked for is written."""
        await self._intake.close()

    async def keep_upload(self, data: bytes) -> str:
        """Keep an init or control picture; returns the hash that a request refers to it by.

        Nothing removes it for a day, by when a job names it or nobody wanted it.
        """
        now = self._now()
        async with self._files.keeping(data) as file:
            row = insert_into(self._database.dialect, HandedInRow)
            await self._write(
                row.values(file=file, handed_in_at=now).on_conflict_do_update(
                    index_elements=["file"], set_={"handed_in_at": now}
                )
            )
        return file

    async def read_upload(self, sha256: str) -> bytes:
        """The file of a kept picture. Raises Refused when it is gone."""
        try:
            return await self._files.read(sha256)
        except PictureMissingError as error:
            raise Refused("picture_gone") from error

    async def upload_size(self, sha256: str) -> tuple[int, int]:
        """Width and height of a kept picture, of which only the beginning is read where that says
        it. Raises Refused when it is gone.
        """
        try:
            head = await self._files.head(sha256, HEAD)
        except PictureMissingError as error:
            raise Refused("picture_gone") from error
        try:
            return size_of(head)
        except ValueError:
            # a JPEG's size stands behind all that it carries
            return size_of(await self.read_upload(sha256))

    # messages

    async def add_message(
        self,
        message_id: int,
        channel_id: int,
        job_id: int,
        kind: str,
        *,
        position: int | None = None,
    ) -> bool:
        """Note which job a message shows; `kind` is one of MessageRow's.

        With `position` it shows that picture alone. Again is no error: the last note holds. False
        where the job was deleted meanwhile: the message is noted as one to be taken back.
        """
        columns = {
            "channel_id": channel_id,
            "job_id": job_id,
            "kind": kind,
            "position": position,
            "created_at": self._now(),
        }
        dialect = self._database.dialect
        row = insert_into(dialect, MessageRow).values(message_id=message_id, **columns)
        row = row.on_conflict_do_update(index_elements=["message_id"], set_=columns)
        left = insert_into(dialect, TakeBackRow).values(
            message_id=message_id, channel_id=channel_id
        )
        # locked, so that it is not deleted between the look and the note
        there = (
            select(JobRow.id).where(JobRow.id == job_id).with_for_update(read=True, key_share=True)
        )

        def note(connection: Connection) -> bool:
            found = connection.execute(there).scalar_one_or_none() is not None
            connection.execute(row if found else left.on_conflict_do_nothing())
            return found

        return await self._database.write(note)

    async def note_hint(self, channel_id: int, message_id: int, user_id: int) -> None:
        """Note a message that shows no job and is to be deleted; whom it is for may do so too."""
        row = insert_into(self._database.dialect, TakeBackRow).values(
            message_id=message_id, channel_id=channel_id, user_id=user_id
        )
        await self._write(row.on_conflict_do_nothing())

    async def taken_back(self, message_id: int) -> None:
        """Note that a message which was to be deleted is gone."""
        statement = delete(TakeBackRow).where(TakeBackRow.message_id == message_id)
        await self._write(statement)
