"""One or several workers of this machine for a bot elsewhere, over one connection."""

import asyncio
import contextlib
import itertools
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec
import psutil
import structlog

from generation.catalog import Catalog
from generation.describing import rater_of
from generation.engines import Engine, EngineError
from generation.engines.process import ProcessEngine
from generation.hosting.models import HostModels
from generation.hosting.orders import Orders
from generation.memory_outlook import Outlook
from generation.messages import NO_CHECK, Ready, RuntimeSettings
from generation.messaging import wire
from generation.messaging.connection import Connection, NatsError, connected, errors, until_done
from generation.messaging.settings import HOST_NAME, NatsSettings
from generation.messaging.wire import Beat

log = structlog.get_logger(__name__)

RESCAN_SECONDS: Final = 30.0
PREPARED_TRIES: Final = 5
START_AGAIN: Final = 10.0
"""Seconds until an engine that did not start is tried again."""


class WorkerName(msgspec.Struct, frozen=True):
    """A worker of this host, and how it draws."""

    name: str
    settings: RuntimeSettings
    hang_after: float = 120.0
    stop_within: float = 10.0


def named(machine: str, worker: str, count: int) -> str:
    """What a worker is called, of so many on its machine."""
    return machine if count == 1 else f"{machine}-{worker}"


async def serve(
    settings: NatsSettings,
    workers: Sequence[WorkerName],
    catalog: Catalog,
    cache: Path,
    engines: Mapping[str, Engine] | None = None,
) -> None:
    """Draw until cancelled. Raises NatsError for what can't be used so."""
    for worker in workers:
        if not HOST_NAME.fullmatch(worker.name):
            raise NatsError(
                f"A worker can't be called {worker.name!r}: up to 40 letters, digits, - and _."
            )
    models = HostModels(catalog)
    who, machine = f"darkroom worker on {socket.gethostname()}", settings.name or workers[0].name
    while True:
        async with connected(settings, who, inbox=machine) as connection:
            await _prepared(connection)
            hosts = [
                Host(worker, connection, models, _engine(worker, cache, engines), cache)
                for worker in workers
            ]
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_closed(connection))
                    group.create_task(_scan(models, connection, hosts))
                    for host in hosts:
                        group.create_task(host.run())
            except* _ClosedError:
                log.warning("the connection to NATS has ended; another is made")
            except* NatsError as group_error:
                raise group_error.exceptions[0] from None


class _ClosedError(Exception):
    """The connection has ended for good."""


async def _closed(connection: Connection) -> None:
    await connection.closed.wait()
    raise _ClosedError


async def _prepared(connection: Connection) -> None:
    """Wait until NATS has what is needed. Raises NatsError where JetStream is off."""
    from nats.js.errors import ServiceUnavailableError

    for tries in itertools.count():
        try:
            await connection.prepare()
        except ServiceUnavailableError:
            if tries < PREPARED_TRIES:  # it may be starting
                await asyncio.sleep(1.0)
                continue
            shown = connection.settings.shown
            raise NatsError(
                f"NATS at {shown} has JetStream off: start it with -js, or jetstream {{}} in its"
                " configuration."
            ) from None
        except errors() as error:
            log.warning("NATS can't be prepared", error=str(error) or type(error).__name__)
            await asyncio.sleep(1.0)
        else:
            return


def _engine(worker: WorkerName, cache: Path, engines: Mapping[str, Engine] | None) -> Engine:
    if engines is not None:
        return engines[worker.name]
    return ProcessEngine(
        worker.settings,
        cache=cache,
        hang_after=worker.hang_after,
        stop_within=worker.stop_within,
    )


async def _scan(models: HostModels, connection: Connection, hosts: "list[Host]") -> None:
    while True:
        try:
            changed = await models.look()
        except Exception:
            # what was found before stays
            log.exception("the model folders can't be read")
        else:
            if changed or not await _are_told(models, connection, hosts):
                await _tell_models(models, connection, hosts)
        await asyncio.sleep(RESCAN_SECONDS)


async def _are_told(models: HostModels, connection: Connection, hosts: "list[Host]") -> bool:
    """Whether others can read what each has: the server may have come back without its files."""
    if any(host.told != models.revision for host in hosts):
        return False
    from nats.js.errors import NotFoundError

    try:
        for host in hosts:
            await connection.models.get_info(host.name)
    except NotFoundError:
        return False
    except errors() as error:
        log.debug("the list of models can't be looked for", error=str(error))
    return True


async def _tell_models(models: HostModels, connection: Connection, hosts: "list[Host]") -> None:
    async def put() -> bool:
        for host in hosts:
            await connection.put(connection.models, host.name, models.listing)
        return True

    await until_done(connection, put, wanted=lambda: True)
    for host in hosts:
        host.told = models.revision
        host.changed.set()


class Host:
    """One worker: says that it lives, and draws."""

    def __init__(
        self,
        worker: WorkerName,
        connection: Connection,
        models: HostModels,
        engine: Engine,
        cache: Path,
    ) -> None:
        self.name = worker.name
        self.changed = asyncio.Event()
        self.told = ""
        """Which list of models others can read."""
        self._worker = worker
        self._run = uuid.uuid4().hex
        self._connection = connection
        self._models = models
        self._engine = engine
        self._cache = cache
        self._trouble = ""
        self._orders = Orders(self.name, self._run, connection, engine, models, self.changed.set)

    async def run(self) -> None:
        """Work until cancelled. Raises NatsError where another is called so."""
        await self._be_alone()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                await self._start()
                group.create_task(self._orders.run())
        except* NatsError as group_error:
            raise group_error.exceptions[0] from None
        finally:
            await self._engine.stop()
            await self._leave()

    async def _start(self) -> None:
        """Import torch before anybody waits for it."""
        while True:
            try:
                ready = await self._engine.start()
            except EngineError as error:
                first = error.failure.code if error.failure is not None else str(error)
                self._trouble = first.strip().splitlines()[0][:500]
                self.changed.set()
                log.error("the worker does not start", worker=self.name, error=str(error))
                await asyncio.sleep(START_AGAIN)
                continue
            break
        self._trouble = ""
        outlook = Outlook(self._worker.settings, ready, self._cache)
        await self._models.catalog.choose_by(outlook.allows())
        log.info("ready to draw for a bot", worker=self.name, device=ready.device_name)
        self.changed.set()

    async def _be_alone(self) -> None:
        """Raises NatsError where another worker of this name lives."""
        before = await self._last_beat()
        if before is None or _is_dead(before[1]):
            return
        for _ in range(3):
            await asyncio.sleep(wire.BEAT_EVERY)
            now = await self._last_beat()
            if now is None:
                return
            if now[0] != before[0]:
                raise NatsError(
                    f"Another worker is called {self.name} already, on {now[1].machine}: give"
                    " this one another --name."
                )

    async def _last_beat(self) -> tuple[int, Beat] | None:
        try:
            entry = await self._connection.hosts.get(self.name)
            beat: Beat = wire.unpack(entry.value or b"", Beat)
        except errors():
            return None
        except msgspec.DecodeError:
            return None
        return entry.revision or 0, beat

    async def _beat(self) -> None:
        knocked: tuple[object, ...] = ()
        while True:
            self.changed.clear()
            beat = self._said()
            told = (beat.ready, beat.models, beat.trouble)
            with contextlib.suppress(*errors()):
                await self._connection.hosts.put(self.name, wire.pack(beat))
                if told != knocked:
                    await self._connection.client.publish(wire.KNOCK, self.name.encode())
                    knocked = told
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wire.BEAT_EVERY):
                    await self.changed.wait()

    def _said(self) -> Beat:
        ready: Ready | None = self._engine.ready
        settings = self._worker.settings
        named = settings.picture_check_model
        checks = named != NO_CHECK and (bool(named) or rater_of(self._models.catalog) is not None)
        return Beat(
            name=self.name,
            run=self._run,
            schema=wire.schema(),
            version=_version(),
            machine=socket.gethostname(),
            process=os.getpid(),
            ready=ready,
            trouble=self._trouble,
            models=self.told,
            checks=checks,
            orders=self._orders.in_hand,
        )

    async def _leave(self) -> None:
        """Say that it is gone, so that nobody waits for it to fall silent."""
        if not self._connection.there:
            return
        with contextlib.suppress(*errors()):
            async with asyncio.timeout(wire.BEAT_EVERY):
                await self._connection.hosts.delete(self.name)
                await self._connection.client.publish(wire.KNOCK, self.name.encode())
                await self._connection.client.flush()


def _is_dead(beat: Beat) -> bool:
    """Whether it is of a process of this machine that has ended."""
    return beat.machine == socket.gethostname() and not psutil.pid_exists(beat.process)


def _version() -> str:
    try:
        return version("darkroom")
    except PackageNotFoundError:
        return "unknown"
