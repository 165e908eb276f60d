"""What processes that share a PostgreSQL server tell each other: its LISTEN and NOTIFY.

Each is told of what others have done, within milliseconds, unless its connection is lost: then it
is told that it may have missed something.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final, Literal

import msgspec
import structlog
from sqlalchemy import text

from generation.messages import Progress
from storage.database import Database
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

CHANNEL: Final = "darkroom"
PAYLOAD_MAX: Final = 7999
"""Bytes that PostgreSQL takes."""
LISTEN_AGAIN_AFTER: Final = 2.0
LOOK_EVERY: Final = 15.0
"""Seconds between looks whether the connection still stands."""


class SettingsChanged(msgspec.Struct, frozen=True, tag=True):
    """Somebody's settings, or a server's, are others now."""

    rows: tuple[tuple[Literal["guild", "person"], int], ...]


class JobMoved(msgspec.Struct, frozen=True, tag=True):
    """A job of process `to` was claimed, goes on, ended or was put back by another process."""

    to: str
    job: int
    progress: Progress | None = None


class CancelAsked(msgspec.Struct, frozen=True, tag=True):
    """Whoever draws this job is to stop."""

    job: int


class PauseAsked(msgspec.Struct, frozen=True, tag=True):
    """Nothing new is to be drawn anywhere, or is again."""

    paused: bool


class Missed(msgspec.Struct, frozen=True, tag=True):
    """The connection was lost for a while: anything may have happened."""


Notice = SettingsChanged | JobMoved | CancelAsked | PauseAsked | Missed


class _Envelope(msgspec.Struct, frozen=True):
    sender: str
    notice: Notice


class Notices:
    """What this process tells the others and hears of them."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process

    async def send(self, notice: Notice) -> None:
        """Tell all others. Raises DatabaseError."""
        payload = msgspec.json.encode(_Envelope(self._process, notice)).decode()
        if len(payload.encode()) > PAYLOAD_MAX:
            raise ValueError(f"a notice of {len(payload)} characters is too long")
        tell = text("SELECT pg_notify(:channel, :payload)")
        values = {"channel": CHANNEL, "payload": payload}
        await self._database.write(lambda connection: connection.execute(tell, values))

    async def listen(self) -> AsyncGenerator[Notice, None]:
        """What others tell, for ever; Missed after each gap, and at the beginning."""
        while True:
            try:
                async with contextlib.aclosing(self._of_one_connection()) as notices:
                    async for notice in notices:
                        yield notice
            except (DatabaseError, OSError) as error:
                log.warning("other processes are not heard", error=str(error))
            await asyncio.sleep(LISTEN_AGAIN_AFTER)

    async def _of_one_connection(self) -> AsyncGenerator[Notice, None]:
        lost = _lost()
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        pooled = await self._database.raw_connection()
        connection: Any = pooled.driver_connection
        # it is this one's alone from now on
        pooled.detach()
        try:
            connection.add_termination_listener(lambda _: heard.put_nowait(None))
            await connection.add_listener(
                CHANNEL, lambda _connection, _pid, _channel, payload: heard.put_nowait(payload)
            )
            yield Missed()
            while True:
                try:
                    async with asyncio.timeout(LOOK_EVERY):
                        payload = await heard.get()
                except TimeoutError:
                    async with asyncio.timeout(LOOK_EVERY):
                        await connection.execute("SELECT 1")
                    continue
                if payload is None:
                    return
                notice = self._read(payload)
                if notice is not None:
                    yield notice
        except lost as error:
            log.warning("other processes are not heard", error=str(error) or type(error).__name__)
        finally:
            connection.terminate()

    def _read(self, payload: str) -> Notice | None:
        try:
            envelope = msgspec.json.decode(payload, type=_Envelope)
        except msgspec.DecodeError as error:
            # of a newer version, or of somebody else on that channel
            log.info("a notice is not understood", error=str(error))
            return None
        return None if envelope.sender == self._process else envelope.notice


def _lost() -> tuple[type[Exception], ...]:
    """What the driver raises once its connection is gone."""
    import asyncpg

    return (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
