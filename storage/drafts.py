"""What people typed that came to nothing, so that they need not type it again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection, delete, insert, select

from storage import records
from storage.clock import Now, machine_time
from storage.database import Database
from storage.records import RecordUnreadableError
from storage.tables import DraftRow, DraftUploadRow

log = structlog.get_logger(__name__)

KEPT_FOR: Final = timedelta(days=7)
DRAFTS_MAX: Final = 50
"""Of one person; the oldest go."""
WITH_PICTURES_MAX: Final = 10
"""Of one person whose pictures are kept: whoever may ask for nothing must not fill the disk."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A filled-in modal: its name, what follows that in its custom_id, the values by field."""

    name: str
    where: tuple[str, ...] = ()
    values: dict[str, str | list[str]] = {}
    uploads: dict[str, str] = {}
    """Hashes of the pictures in the store that were given with it, by option."""
    about: str = ""
    """What its handler has to know beside what was typed."""


class DraftStore:
    """Drafts by number, each its writer's alone."""

    def __init__(self, database: Database, now: Now = machine_time) -> None:
        self._database = database
        self._now = now

    async def keep(self, user_id: int, draft: Draft) -> int:
        """Write down what somebody typed; returns the number that a button knows it by.

        What no database takes is left out: NUL, and half an emoji, which cutting one leaves.
        """
        text = msgspec.json.encode(_cleaned(msgspec.structs.asdict(draft))).decode()
        files = sorted(set(draft.uploads.values()))
        now = self._now()
        return await self._database.write(lambda c: _keep(c, user_id, text, files, now))

    async def get(self, user_id: int, number: int) -> Draft | None:
        """Somebody's draft; None where it is gone or another's."""
        return await self._database.read(lambda c: _read(c, user_id, number))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(inner) for key, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value


def _read(connection: Connection, user_id: int, number: int) -> Draft | None:
    kept = records.text_of(DraftRow.draft, connection.dialect)
    statement = select(kept).where(DraftRow.id == number, DraftRow.user_id == user_id)
    found = connection.execute(statement).scalar_one_or_none()
    if found is None:
        return None
    try:
        draft = records.decoded(found, Draft)
    except RecordUnreadableError as error:
        log.error("a draft can't be read", number=number, error=str(error))
        return None
    named = select(DraftUploadRow.file).where(DraftUploadRow.draft_id == number)
    files = set(connection.execute(named).scalars())
    there = {option: file for option, file in draft.uploads.items() if file in files}
    return msgspec.structs.replace(draft, uploads=there)


def _keep(connection: Connection, user_id: int, text: str, files: list[str], now: datetime) -> int:
    row = insert(DraftRow).values(user_id=user_id, draft=text, created_at=now)
    number = int(connection.execute(row.returning(DraftRow.id)).scalar_one())
    if files:
        named = [{"draft_id": number, "file": file} for file in files]
        connection.execute(insert(DraftUploadRow), named)
    own = select(DraftRow.id).where(DraftRow.user_id == user_id).order_by(DraftRow.id.desc())
    kept = own.limit(DRAFTS_MAX)
    connection.execute(
        delete(DraftRow).where(DraftRow.user_id == user_id, DraftRow.id.not_in(kept))
    )
    if files:
        uploads = select(DraftUploadRow.draft_id)
        older = own.where(DraftRow.id.in_(uploads)).offset(WITH_PICTURES_MAX)
        connection.execute(delete(DraftUploadRow).where(DraftUploadRow.draft_id.in_(older)))
    return number
