"""A worker on another host, over NATS: its orders go into the host's work queue."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final

import msgspec
import structlog

from generation.engines import EngineError
from generation.messages import (
    ControlSeen,
    EngineEvent,
    EngineWork,
    Failed,
    Finished,
    MessageError,
    Picture,
    Ready,
    encode,
    read_from_runtime,
)
from generation.messaging import wire
from generation.messaging.connection import Connection, GoneError, errors
from generation.messaging.exchange import Exchange
from generation.messaging.wire import Beat, HostReply, Leave, Order

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds of silence after which it is asked whether the order is still in somebody's hand."""
LOST_AFTER: Final = 10.0
"""Seconds for which nobody must have had it in hand."""
ORDERS_MAX: Final = 3
"""How often a job is ordered anew that was lost on the way."""
RUNS_MAX: Final = 2
"""How many runs of a host may begin an order: one under which it ends twice ends it a third time.
"""
CANCELLED_WITHIN: Final = 5.0
"""Seconds that a host may take to say that it has left a job that nobody wants."""


class HostState:
    """What is known of a host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.beat: Beat | None = None
        self.heard = 0.0
        """When, by the monotonic clock."""

    def hear(self, beat: Beat) -> None:
        """It lives."""
        self.beat, self.heard = beat, time.monotonic()

    def has(self, order: str) -> bool:
        """Whether it has an order in hand, by what it said last."""
        return self.beat is not None and order in self.beat.orders


class _LostError(Exception):
    """An order, or a picture of it, is no more."""


class _Placed:
    """A job on its way to the host and back."""

    def __init__(self, order: Order, work: EngineWork, heard: "asyncio.Queue[HostReply]") -> None:
        self.order = order
        self.work = work
        self.heard = heard
        self.sending: asyncio.Task[None]
        self.sequence = 0
        """In the stream of orders."""
        self.cancelled = False
        self.ended = False
        self.runs: list[str] = []
        self.number = 0
        """Of the last reply that was heard of the last run."""
        self.silent_since = time.monotonic()

    @property
    def objects(self) -> list[str]:
        """What its uploads are called."""
        return [self.order.upload(sha256) for sha256 in self.work.pictures]


class NatsEngine:
    """Has one host draw. Whether the host is there is for others to see: while it is not, a job
    waits for it.
    """

    def __init__(self, host: HostState, exchange: Exchange) -> None:
        self._host = host
        self._exchange = exchange
        self._current: _Placed | None = None
        self._ahead: _Placed | None = None
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """The name of the host."""
        return self._host.name

    @property
    def ready(self) -> Ready | None:
        """What the host draws on."""
        return self._host.beat.ready if self._host.beat is not None else None

    async def start(self) -> Ready:
        """The host has started by itself. Raises EngineError where it has not."""
        beat = self._host.beat
        if beat is None or beat.ready is None:
            trouble = beat.trouble if beat is not None else ""
            raise EngineError(trouble or f"the host {self._host.name} does not answer")
        return beat.ready

    async def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job; see Engine. Closing the iterator cancels the job."""
        for _ in range(ORDERS_MAX):
            placed = self._current = self._take_ahead(work) or self._place(work)
            try:
                async for event in self._events(placed):
                    yield event
                    if placed.ended:
                        return
            except _LostError as error:
                log.warning("an order was lost", host=self._host.name, why=str(error))
            except MessageError as error:
                placed.ended = True
                yield Failed(work.job, "request_unsendable", detail=str(error))
                return
            finally:
                self._current = None
                self._close(placed)
        yield Failed(work.job, "worker_died", detail="its order was lost again and again")

    def hand_ahead(self, work: EngineWork) -> bool:
        """Order it at once; see Engine."""
        if self._current is None or self._ahead is not None or self._exchange.connection is None:
            return False
        self._ahead = self._place(work)
        return True

    def withdraw(self, job: str) -> None:
        """Take the order back."""
        placed = self._ahead
        if placed is not None and placed.work.job == job:
            self._ahead = None
            self._close(placed)

    async def cancel(self, job: str) -> None:
        """Ask the host to stop at the next denoising step; one that has not begun never will."""
        for placed in (self._current, self._ahead):
            if placed is not None and placed.work.job == job:
                placed.cancelled = True
                placed.silent_since = time.monotonic()
                await self._say_leave(placed)

    async def stop(self) -> None:
        """The host stays; what was ordered is taken back."""
        for placed in (self._current, self._ahead):
            if placed is not None:
                self._close(placed)
        self._ahead = None
        if self._chores:
            await asyncio.wait(self._chores, timeout=CANCELLED_WITHIN)

    def _take_ahead(self, work: EngineWork) -> _Placed | None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.work.job != work.job:
            self._close(ahead)
            return None
        return ahead

    def _place(self, work: EngineWork) -> _Placed:
        """Order a job, which goes out as soon as NATS takes it."""
        number = f"{work.job}-{time.time_ns():x}"
        bare = msgspec.structs.replace(work, pictures=dict.fromkeys(work.pictures, b""))
        order = Order(number, self._exchange.session, b"")
        placed = _Placed(order, work, self._exchange.listen(number))
        placed.sending = asyncio.create_task(self._send(placed, bare))
        # whoever waits for it hears how it went
        placed.sending.add_done_callback(lambda task: task.cancelled() or task.exception())
        return placed

    async def _send(self, placed: _Placed, bare: EngineWork) -> None:
        """Raises MessageError."""
        body = encode(bare)

        async def send() -> int:
            connection = self._connected()
            # the run of the bot that NATS knows by now
            order = msgspec.structs.replace(placed.order, session=self._exchange.session, work=body)
            placed.order = order
            packed = wire.pack(order)
            if len(packed) > connection.client.max_payload:
                raise MessageError(f"the order has {len(packed)} bytes")
            for sha256, picture in placed.work.pictures.items():
                await connection.put(connection.pictures, order.upload(sha256), picture)
            subject = wire.jobs_of(self._host.name)
            return int((await connection.stream.publish(subject, packed)).seq)

        while not placed.ended:
            try:
                placed.sequence = await send()
            except errors() as error:
                log.debug("not ordered yet", error=str(error) or type(error).__name__)
                await asyncio.sleep(LOOK_EVERY / 4)
            else:
                return

    def _connected(self) -> Connection:
        connection = self._exchange.connection
        if connection is None:
            raise ConnectionError("NATS is away")
        return connection

    async def _events(self, placed: _Placed) -> AsyncGenerator[EngineEvent, None]:
        """What the host says of an order. Raises _LostError and MessageError."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    reply = await placed.heard.get()
            except TimeoutError:
                if placed.cancelled and self._silent(placed, CANCELLED_WITHIN):
                    placed.ended = True
                    yield Failed(placed.work.job, "cancelled")
                    return
                await self._look_for(placed)
                continue
            placed.silent_since = time.monotonic()
            if not self._goes_on(placed, reply):
                continue
            if len(placed.runs) > RUNS_MAX:
                placed.ended = True
                yield Failed(placed.work.job, "worker_died", detail="the host ended under it")
                return
            event = await self._read(placed, reply)
            if event is None:
                continue
            placed.ended = isinstance(event, Finished | Failed)
            yield event

    def _goes_on(self, placed: _Placed, reply: HostReply) -> bool:
        """Whether a reply is one that was not heard yet, of the last run of the host."""
        if reply.run not in placed.runs:
            placed.runs.append(reply.run)
            placed.number = 0
        elif reply.run != placed.runs[-1]:
            return False
        if reply.number:
            if reply.number <= placed.number:
                return False
            placed.number = reply.number
        return True

    async def _read(self, placed: _Placed, reply: HostReply) -> EngineEvent | None:
        event = read_from_runtime(reply.event)
        if isinstance(event, Ready):
            return None
        if isinstance(event, Picture | ControlSeen):
            file = await self._fetched(placed, reply)
            return msgspec.structs.replace(event, file=file, job=placed.work.job)
        return msgspec.structs.replace(event, job=placed.work.job)

    async def _fetched(self, placed: _Placed, reply: HostReply) -> bytes:
        """A picture that came of the order. Raises _LostError."""
        name = reply.object(placed.order.session)
        while True:
            try:
                connection = self._connected()
                found = await connection.get(connection.pictures, name, reply.file)
            except GoneError as error:
                raise _LostError(str(error)) from error
            except errors():
                await asyncio.sleep(LOOK_EVERY)
                continue
            self._chore(connection.remove(connection.pictures, name))
            return found

    def _silent(self, placed: _Placed, seconds: float) -> bool:
        return time.monotonic() - placed.silent_since > seconds

    async def _look_for(self, placed: _Placed) -> None:
        """Say again what a host may not have heard. Raises _LostError where nobody has the order in
        hand any more, and MessageError where it could never be sent.
        """
        if placed.sending.done():
            placed.sending.result()
        if placed.cancelled:
            await self._say_leave(placed)
        connection = self._exchange.connection
        if connection is None or not placed.sequence or self._host.has(placed.order.id):
            placed.silent_since = time.monotonic()
            return
        alive = self._host.heard > placed.silent_since + wire.BEAT_EVERY
        if not alive or not self._silent(placed, LOST_AFTER):
            return
        from nats.js.errors import NotFoundError

        try:
            await connection.stream.get_msg(wire.JOBS, placed.sequence)
        except NotFoundError:
            if placed.heard.empty():
                raise _LostError("the host does not know of it") from None
        except errors():
            return

    async def _say_leave(self, placed: _Placed) -> None:
        connection = self._exchange.connection
        if connection is None:
            return
        try:
            leave = wire.pack(Leave(placed.order.id))
            await connection.client.publish(wire.control_of(self._host.name), leave)
        except errors() as error:
            log.debug("a host can't be told", error=str(error) or type(error).__name__)

    def _close(self, placed: _Placed) -> None:
        """Hear no more of an order, and have nobody begin it or go on with it."""
        self._exchange.forget(placed.order.id)
        placed.sending.cancel()
        ended, placed.ended = placed.ended, True
        self._chore(self._clear_up(placed, ended=ended))

    async def _clear_up(self, placed: _Placed, *, ended: bool) -> None:
        connection = self._exchange.connection
        if connection is None:
            return
        if not ended:
            await self._say_leave(placed)
            if placed.sequence:
                await _forgotten(connection, placed.sequence)
        for name in placed.objects:
            await connection.remove(connection.pictures, name)

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


async def _forgotten(connection: Connection, sequence: int) -> None:
    """Take an order out of the queue, if it is there still."""
    try:
        await connection.stream.delete_msg(wire.JOBS, sequence)
    except errors() as error:
        log.debug("an order can't be taken back", error=str(error) or type(error).__name__)
