"""The bot's end: what it ordered from hosts, and what they say of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from generation.ending import ended
from generation.messaging import wire
from generation.messaging.connection import Connection, dropped, errors, fetched
from generation.messaging.wire import HostReply

if TYPE_CHECKING:
    from nats.aio.msg import Msg

log = structlog.get_logger(__name__)

FETCH: Final = 20
FETCH_SECONDS: Final = 3.0
UNUSED: Final = 3600.0
"""Seconds after which the server forgets the place of a bot that is gone."""


class Exchange:
    """The orders of one run of the bot. What is said of any other is not heard."""

    def __init__(self) -> None:
        self.session = ""
        self._connection: Connection | None = None
        self._heard: dict[str, asyncio.Queue[HostReply]] = {}
        self.changed = asyncio.Event()
        """Set when NATS comes, and when a host has knocked."""

    @property
    def connection(self) -> Connection | None:
        """None while NATS is away."""
        found = self._connection
        return found if found is not None and found.there else None

    def listen(self, order: str) -> "asyncio.Queue[HostReply]":
        """What is said of an order, from now until `forget`: as long it is wanted."""
        return self._heard.setdefault(order, asyncio.Queue())

    def forget(self, order: str) -> None:
        """Want an order no more."""
        self._heard.pop(order, None)

    @contextlib.asynccontextmanager
    async def over(self, connection: Connection) -> AsyncIterator[None]:
        """Hear what is said, as long as the block runs. Raises ERRORS of the connection."""
        self.session = connection.client._nuid.next().decode()
        await connection.prepare()
        await connection.keep_beats_for(connection.settings.away_after)
        client = connection.client
        subscriptions = [
            await client.subscribe(wire.progress_of(self.session), cb=self._hear_progress),
            await client.subscribe(wire.wanted_of(self.session), cb=self._answer),
            await client.subscribe(wire.KNOCK, cb=self._hear_knock),
        ]
        self._connection = connection
        reading = asyncio.create_task(self._read_results(connection))
        self.changed.set()
        try:
            yield
        finally:
            self._connection = None
            await ended(reading)
            with contextlib.suppress(*errors()):
                async with asyncio.timeout(FETCH_SECONDS):
                    for subscription in subscriptions:
                        await subscription.unsubscribe()
                    await connection.stream.delete_consumer(wire.RESULTS, self.session)
            await connection.sweep(self.session)

    async def _hear_progress(self, message: "Msg") -> None:
        self._hear(message)

    async def _answer(self, message: "Msg") -> None:
        order = message.data.decode(errors="replace")
        with contextlib.suppress(*errors()):
            await message.respond(b"1" if not order or order in self._heard else b"0")

    async def _hear_knock(self, _message: "Msg") -> None:
        self.changed.set()

    def _hear(self, message: "Msg") -> HostReply | None:
        """Hand on what is said of an order that is wanted; returns it where it is not."""
        try:
            reply: HostReply = wire.unpack(message.data, HostReply)
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("a host says what is no message", error=str(error))
            return None
        heard = self._heard.get(reply.order)
        if heard is None:
            return reply
        heard.put_nowait(reply)
        return None

    async def _read_results(self, connection: Connection) -> None:
        """Take what comes through the stream, from where it was left, however often NATS goes."""
        subscription: Any = None
        while True:
            try:
                await connection.back.wait()
                if subscription is None:
                    subscription = await self._subscribed(connection)
                messages = await fetched(subscription, FETCH, FETCH_SECONDS)
            except errors() as error:
                log.debug("results can't be read", error=str(error) or type(error).__name__)
                await dropped(subscription)
                subscription = None
                await asyncio.sleep(0.5)
                with contextlib.suppress(*errors()):
                    # the server may have come back without its streams
                    await connection.prepare()
                continue
            for message in messages:
                stale = self._hear(message)
                with contextlib.suppress(*errors()):
                    await message.ack()
                if stale is not None and stale.file:
                    name = stale.object(self.session)
                    await connection.remove(connection.pictures, name)

    async def _subscribed(self, connection: Connection) -> Any:
        from nats.js.api import ConsumerConfig

        subject = wire.results_of(self.session)
        return await connection.stream.pull_subscribe(
            subject,
            durable=self.session,
            stream=wire.RESULTS,
            config=ConsumerConfig(ack_wait=wire.ACK_WITHIN, inactive_threshold=UNUSED),
        )
