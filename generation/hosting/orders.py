"""What a host has in hand: one order that is drawn, and the one after it."""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from generation.ending import ended
from generation.engines import Engine
from generation.hosting.models import FileGoneError, HostModels
from generation.messages import (
    ControlSeen,
    EngineEvent,
    EngineWork,
    Failed,
    Picture,
    Preview,
    Progress,
    encode,
)
from generation.messaging import wire
from generation.messaging.connection import (
    Connection,
    GoneError,
    dropped,
    errors,
    fetched,
    until_done,
)
from generation.messaging.wire import HostReply, Leave, OnlyOf, Order

if TYPE_CHECKING:
    from nats.aio.msg import Msg

log = structlog.get_logger(__name__)

IN_HAND: Final = 2
FETCH_SECONDS: Final = 3.0
ASK_SECONDS: Final = 3.0
ASK_AGAIN: Final = 1.0
"""Seconds after which an order is looked at anew whose bot did not answer."""
DONE_KEPT: Final = 100


class _Taken:
    """An order in hand."""

    def __init__(self, order: Order, message: "Msg") -> None:
        self.order = order
        self.message = message
        self.work: EngineWork | None = None
        self.wanted = True
        self.number = 0


class Orders:
    """Takes a host's orders one after the other and says what comes of them."""

    def __init__(
        self,
        name: str,
        run: str,
        connection: Connection,
        engine: Engine,
        models: HostModels,
        changed: Callable[[], None],
    ) -> None:
        self._name = name
        self._run = run
        self._connection = connection
        self._engine = engine
        self._models = models
        self._changed = changed
        self._taken: dict[str, _Taken] = {}
        self._coming: asyncio.Queue[_Taken] = asyncio.Queue()
        self._drawn: _Taken | None = None
        self._done: deque[str] = deque(maxlen=DONE_KEPT)
        self._room = asyncio.Semaphore(IN_HAND)

    @property
    def in_hand(self) -> tuple[str, ...]:
        """The numbers of the orders."""
        return tuple(self._taken)

    async def run(self) -> None:
        """Work until cancelled."""
        client = self._connection.client
        subscription = await client.subscribe(wire.control_of(self._name), cb=self._hear)
        tasks = [asyncio.create_task(each()) for each in (self._fetch, self._draw, self._hold)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await ended(*tasks)
            with contextlib.suppress(*errors()):
                await subscription.unsubscribe()

    # what comes

    async def _fetch(self) -> None:
        subscription: Any = None
        first = True
        while True:
            await self._room.acquire()
            kept = False
            try:
                await self._connection.back.wait()
                if subscription is None:
                    subscription = await self._subscribed(anew=first)
                    first = False
                for message in await fetched(subscription, 1, FETCH_SECONDS):
                    kept = await self._take(message)
            except errors() as error:
                log.debug("no orders", error=str(error) or type(error).__name__)
                await dropped(subscription)
                subscription = None
                await asyncio.sleep(0.5)
                with contextlib.suppress(*errors()):
                    await self._connection.prepare()
            finally:
                if not kept:
                    self._room.release()

    async def _subscribed(self, *, anew: bool) -> Any:
        """The host's place in the work queue; with `anew` what an earlier run had in hand is given
        out again at once.
        """
        from nats.js.api import AckPolicy, ConsumerConfig
        from nats.js.errors import NotFoundError

        durable = f"host-{self._name}"
        if anew:
            with contextlib.suppress(NotFoundError):
                await self._connection.stream.delete_consumer(wire.JOBS, durable)
        return await self._connection.stream.pull_subscribe(
            wire.jobs_of(self._name),
            durable=durable,
            stream=wire.JOBS,
            config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=wire.ACK_WITHIN),
        )

    async def _take(self, message: "Msg") -> bool:
        """Whether an order is kept in hand that has come. Raises ERRORS."""
        try:
            order: Order = wire.unpack(message.data, Order)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("an order that is none", error=str(error))
            await message.term()
            return False
        known = self._taken.get(order.id)
        if known is not None:
            # it was given out again because NATS did not hear of it for long
            known.message = message
            return False
        if order.id in self._done:
            await message.ack()
            return False
        wanted = await self._is_wanted(order)
        if wanted is None:
            await message.nak(delay=ASK_AGAIN)
            return False
        if not wanted:
            log.info("an order is left that nobody wants", order=order.id)
            await message.ack()
            return False
        taken = self._taken[order.id] = _Taken(order, message)
        self._changed()
        if not await self._prepare(taken):
            self._let_go(taken)
            return False
        if self._drawn is not None and taken.work is not None:
            self._engine.hand_ahead(taken.work)
        self._coming.put_nowait(taken)
        return True

    async def _is_wanted(self, order: Order) -> bool | None:
        """None where the bot does not answer, which may be back soon."""
        try:
            said = await self._connection.client.request(
                wire.wanted_of(order.session), order.id.encode(), timeout=ASK_SECONDS
            )
        except errors():
            return None
        return bool(said.data == b"1")

    async def _prepare(self, taken: _Taken) -> bool:
        """Find the files and the pictures of an order; False where that failed, and it was said."""
        order = taken.order
        try:
            work = await asyncio.to_thread(self._models.work_of, order.work, EngineWork)
        except FileGoneError as error:
            params = {"file": str(error), "worker": self._name}
            await self._answer(taken, Failed("", "host_file_gone", params))
            return False
        except (msgspec.DecodeError, ValueError) as error:
            await self._answer(taken, Failed("", "internal_error", detail=str(error)))
            return False
        pictures: dict[str, bytes] = {}
        for sha256 in work.pictures:
            try:
                found = await self._picture(taken, order.upload(sha256), sha256)
            except GoneError as error:
                await self._answer(taken, Failed("", "worker_died", detail=str(error)))
                return False
            if found is None:
                return False
            pictures[sha256] = found
        # the child knows a job by the order, which is another each time
        taken.work = msgspec.structs.replace(work, job=order.id, pictures=pictures)
        return True

    async def _picture(self, taken: _Taken, name: str, sha256: str) -> bytes | None:
        store = self._connection.pictures

        async def get() -> bytes:
            return await self._connection.get(store, name, sha256)

        found: bytes | None = await until_done(self._connection, get, wanted=lambda: taken.wanted)
        return found

    async def _hear(self, message: "Msg") -> None:
        try:
            said: Leave | OnlyOf = wire.unpack(message.data, Leave | OnlyOf)
        except (msgspec.DecodeError, ValueError):
            return
        for taken in list(self._taken.values()):
            meant = (
                taken.order.id == said.order
                if isinstance(said, Leave)
                else taken.order.session != said.session
            )
            if meant:
                await self._leave(taken, gone=isinstance(said, OnlyOf))

    async def _leave(self, taken: _Taken, *, gone: bool) -> None:
        """Stop an order; with `gone` nobody is there to be told."""
        if gone:
            taken.wanted = False
        if taken is self._drawn:
            await self._engine.cancel(taken.order.id)
        elif taken.wanted:
            taken.wanted = False
            self._engine.withdraw(taken.order.id)
            await self._answer(taken, Failed("", "cancelled"), insist=True)
        else:
            self._engine.withdraw(taken.order.id)

    # what is drawn

    async def _draw(self) -> None:
        while True:
            taken = await self._coming.get()
            if taken.wanted and taken.work is not None:
                self._drawn = taken
                try:
                    async with contextlib.aclosing(self._engine.generate(taken.work)) as events:
                        async for event in events:
                            await self._answer(taken, event)
                finally:
                    self._drawn = None
            self._let_go(taken)
            self._room.release()

    def _let_go(self, taken: _Taken) -> None:
        self._taken.pop(taken.order.id, None)
        self._done.append(taken.order.id)
        self._changed()
        self._ack(taken.message)

    def _ack(self, message: "Msg") -> None:
        async def ack() -> None:
            # one that is not heard comes again, and is known as done
            with contextlib.suppress(*errors()):
                await message.ack()

        _spawn(ack())

    async def _hold(self) -> None:
        """Say of what is in hand that it is, before it is given out again."""
        while True:
            await asyncio.sleep(wire.ACK_WITHIN / 4)
            for taken in list(self._taken.values()):
                with contextlib.suppress(*errors()):
                    await taken.message.in_progress()

    # what is said

    async def _answer(self, taken: _Taken, event: EngineEvent, *, insist: bool = False) -> None:
        """Say what has become of an order, once NATS is there, as long as somebody wants it."""
        session, connection = taken.order.session, self._connection
        if isinstance(event, Progress | Preview):
            reply = HostReply(taken.order.id, self._run, 0, encode(event))
            packed = wire.pack(reply)
            subject = wire.progress_of(session, taken.order.id)
            if len(packed) <= connection.client.max_payload and connection.there:
                with contextlib.suppress(*errors()):
                    await connection.client.publish(subject, packed)
            return
        taken.number += 1
        file = b""
        if isinstance(event, Picture | ControlSeen):
            file, event = event.file, msgspec.structs.replace(event, file=b"")
        sha256 = hashlib.sha256(file).hexdigest() if file else ""
        reply = HostReply(taken.order.id, self._run, taken.number, encode(event), sha256)

        async def say() -> bool:
            if file:
                await connection.put(connection.pictures, reply.object(session), file)
            await connection.stream.publish(
                wire.results_of(session, taken.order.id),
                wire.pack(reply),
                headers={"Nats-Msg-Id": reply.object(session)},
            )
            return True

        await until_done(connection, say, wanted=lambda: taken.wanted or insist)


_tasks: set["asyncio.Task[None]"] = set()


def _spawn(work: Any) -> None:
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
