"""Workers on other hosts come and go: each that lives is one of the pool's."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from generation.ending import ended
from generation.engines.nats import HostState, NatsEngine
from generation.fleet.catalog import FleetCatalog
from generation.fleet.places import Places
from generation.messaging import wire
from generation.messaging.connection import Connection, GoneError, NatsError, connected, errors
from generation.messaging.exchange import Exchange
from generation.messaging.settings import HOST_NAME, NatsSettings
from generation.messaging.wire import Beat, Listing, OnlyOf
from generation.worker_pool import WorkerPool

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 2.0
AGAIN_AFTER: Final = 5.0
"""Seconds until another connection is tried where one has ended."""
LEAVING_SECONDS: Final = 12.0
"""In which hosts and NATS are left in order."""
ANSWER_SECONDS: Final = 2.0
"""In which another bot says that it lives."""
SESSION: Final = re.compile(r"[A-Za-z0-9]{1,64}")
"""How the runs of bots are called."""
KNOWN_FOR: Final = 7 * 86400.0
"""Seconds for which the models of a host that is away are offered."""


class Fleet:
    """Has the pool draw on the hosts that NATS knows, for as long as `run` runs."""

    def __init__(
        self,
        settings: NatsSettings,
        workers: WorkerPool,
        catalog: FleetCatalog,
        cache: Path,
        *,
        needs_check: Callable[[], bool],
        named: Callable[[str], str] = str,
    ) -> None:
        """`named` is what the worker of a host is called among those of all processes."""
        self._settings = settings
        self._workers = workers
        self._catalog = catalog
        self._cache = cache / "hosts"
        self._needs_check = needs_check
        self._named = named
        self._states: dict[str, HostState] = {}
        """Of all that were seen; those in the pool are in `_driven`."""
        self._driven: set[str] = set()
        self._read: dict[str, str] = {}
        """Which list of models is known of each host."""
        self._told: dict[str, str] = {}
        """What was said last of a host that can't be used."""
        self._exchange = Exchange()
        self._must_check = True
        """Whether pictures must be looked at, as far as is known."""
        self._lost_at: float | None = time.monotonic()
        self._back_at = 0.0
        self.trouble = ""
        """Why NATS can't be used, as a sentence; "" where it can."""
        self.places = Places(catalog, here=settings.draw_here)
        self.places.may_draw = self._may_draw
        workers.places = self.places.of
        workers.runs_on = self.places.runs_on

    @property
    def connected(self) -> bool:
        """Whether NATS answers."""
        return self._exchange.connection is not None

    @property
    def shown(self) -> str:
        """The address, without passwords."""
        return self._settings.shown

    async def run(self) -> None:
        """Follow the hosts until cancelled."""
        await self._remember()
        following = asyncio.create_task(self._connect())
        try:
            while not following.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._exchange.changed.wait()
                self._exchange.changed.clear()
                await self._look()
            following.result()
        finally:
            await ended(following, within=LEAVING_SECONDS)

    async def _connect(self) -> None:
        said = ""
        while True:
            try:
                async with (
                    connected(self._settings, "darkroom", inbox=wire.BOT) as connection,
                    self._exchange.over(connection),
                ):
                    self.trouble = said = ""
                    log.info("connected to NATS", url=self.shown)
                    try:
                        await connection.closed.wait()
                    finally:
                        await self._let_go(connection)
            except NatsError as error:
                self.trouble = str(error)
            except errors() as error:
                self.trouble = f"NATS at {self.shown}: {error or type(error).__name__}"
            if self.trouble and self.trouble != said:
                said = self.trouble
                log.error("no workers on other hosts", why=said)
            await asyncio.sleep(AGAIN_AFTER)

    async def _let_go(self, connection: Connection) -> None:
        """Leave the hosts to whichever bot comes next, with nothing of ours in hand."""
        if not connection.there:
            return
        with contextlib.suppress(*errors()):
            async with asyncio.timeout(ANSWER_SECONDS):
                for name in self._driven:
                    await self._clear(connection, name, "")
                    await connection.drivers.delete(name)
                await connection.client.flush()

    # who is there

    async def _look(self) -> None:
        connection = self._exchange.connection
        now = time.monotonic()
        self._must_check = self._needs_check()
        if connection is None:
            self._back_at = 0.0
            if self._lost_at is None:
                self._lost_at = now
            if now - self._lost_at > self._settings.away_after:
                for name in tuple(self._driven):
                    await self._part(name, "NATS is away")
            return
        self._lost_at = None
        self._back_at = self._back_at or now
        try:
            beats = await self._beats(connection)
        except errors() as error:
            log.debug("hosts can't be looked for", error=str(error) or type(error).__name__)
            return
        for beat in beats.values():
            try:
                await self._hear(connection, beat)
            except errors() as error:
                # the others draw on
                why = str(error) or type(error).__name__
                log.debug("a host can't be heard", host=beat.name, error=why)
        # hosts need their time to come back too
        if now - self._back_at > self._settings.away_after or not self._driven - beats.keys():
            for name in tuple(self._driven - beats.keys()):
                await self._part(name, "it is silent")

    async def _beats(self, connection: Connection) -> dict[str, Beat]:
        info = await connection.stream.stream_info(f"KV_{wire.HOSTS}", subjects_filter=">")
        found: dict[str, Beat] = {}
        for subject in info.state.subjects or {}:
            name = subject.rpartition(".")[2]
            from nats.js.errors import KeyNotFoundError

            try:
                entry = await connection.hosts.get(name)
                beat: Beat = wire.unpack(entry.value or b"", Beat)
            except KeyNotFoundError:
                continue  # it has left
            except (msgspec.DecodeError, ValueError):
                self._say_of(name, "it runs another version of Darkroom")
                continue
            if beat.name == name and HOST_NAME.fullmatch(name):
                found[name] = beat
            else:
                # its name becomes a part of subjects and of files' names
                self._say_of(name, "it says that it is called otherwise")
        return found

    async def _hear(self, connection: Connection, beat: Beat) -> None:
        state = self._states.setdefault(beat.name, HostState(beat.name))
        if beat != state.beat or beat.name not in self._driven:
            log.debug("a host lives", host=beat.name)
        state.hear(beat)
        if beat.schema != wire.schema():
            self._say_of(beat.name, "it runs another version of Darkroom", version=beat.version)
            if beat.name in self._driven:
                await self._part(beat.name, "it runs another version of Darkroom")
            return
        if beat.models and beat.models != self._read.get(beat.name):
            await self._read_models(connection, beat)
        if beat.ready is None or beat.name not in self._read:
            if beat.trouble:
                self._say_of(beat.name, beat.trouble)
            return
        if not await self._drive(connection, beat.name):
            self._say_of(beat.name, "another bot has it draw")
            if beat.name in self._driven:
                await self._part(beat.name, "another bot has it draw")
            return
        if beat.name not in self._driven:
            await self.places.learn(self._workers.waiting_jobs)
            self._join(beat, state)

    def _join(self, beat: Beat, state: HostState) -> None:
        name = beat.name
        engine = NatsEngine(state, self._exchange)
        try:
            self._workers.add(
                self._named(name),
                engine,
                runs=self.places.runs_on(name),
                catalog=self._catalog.of(name),
            )
        except ValueError:
            self._say_of(name, "a worker of this bot is called so; give it another --name")
            return
        self._driven.add(name)
        self._told.pop(name, None)
        device = beat.ready.device_name if beat.ready is not None else ""
        log.info("a host draws with us", host=name, device=device, machine=beat.machine)
        self._workers.moved()

    async def _part(self, name: str, why: str) -> None:
        log.warning("a host draws no more", host=name, why=why)
        self._driven.discard(name)
        await self._workers.remove(self._named(name))
        self._workers.moved()

    def _say_of(self, name: str, why: str, **more: Any) -> None:
        if self._told.get(name) != why:
            self._told[name] = why
            log.warning("a host can't be used", host=name, why=why, **more)

    async def _drive(self, connection: Connection, name: str) -> bool:
        """Whether this bot has the host draw: no other does, or none that lives."""
        from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

        mine = self._exchange.session
        try:
            entry = await connection.drivers.get(name)
        except KeyNotFoundError:
            entry = None
        holder = (entry.value or b"").decode(errors="replace") if entry is not None else ""
        if holder == mine:
            return True
        if not SESSION.fullmatch(holder):
            holder = ""  # of no bot
        if holder and await self._lives(connection, holder):
            return False
        try:
            if entry is None:
                await connection.drivers.create(name, mine.encode())
            else:
                await connection.drivers.update(name, mine.encode(), last=entry.revision)
        except KeyWrongLastSequenceError:
            return False
        # what was ordered by those before is wanted by nobody
        await self._clear(connection, name, mine)
        if holder:
            await connection.sweep(holder)
        return True

    async def _clear(self, connection: Connection, name: str, session: str) -> None:
        """Have a host leave whatever it was given by others than that run of a bot."""
        await connection.stream.purge_stream(wire.JOBS, subject=wire.jobs_of(name))
        await connection.client.publish(wire.control_of(name), wire.pack(OnlyOf(session)))

    async def _lives(self, connection: Connection, session: str) -> bool:
        from nats.errors import NoRespondersError

        try:
            await connection.client.request(wire.wanted_of(session), b"", timeout=ANSWER_SECONDS)
        except NoRespondersError:
            return False
        return True

    # what they have

    async def _read_models(self, connection: Connection, beat: Beat) -> None:
        try:
            packed = await connection.get(connection.models, beat.name, beat.models)
        except GoneError:
            return  # another list is there already, and the next beat names it
        if await self._know(beat.name, packed):
            self._read[beat.name] = beat.models
            await asyncio.to_thread(self._keep, beat.name, packed)

    async def _know(self, host: str, packed: bytes) -> bool:
        try:
            listing: Listing = wire.unpack(packed, Listing)
        except (msgspec.DecodeError, ValueError):
            return False
        await self._catalog.know(host, listing.models)
        await self.places.learn(self._workers.waiting_jobs)
        known = {self._named(name): name for name in self._driven}
        for worker in self._workers.workers:
            if worker.name in known:
                worker.know(self._catalog.of(known[worker.name]))
        self._workers.moved()
        return True

    async def _remember(self) -> None:
        """Know what hosts had that are not back yet."""
        for host, packed in (await asyncio.to_thread(self._kept)).items():
            await self._know(host, packed)

    def _keep(self, host: str, packed: bytes) -> None:
        with contextlib.suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            (self._cache / f"{host}.{wire.schema()}").write_bytes(packed)

    def _kept(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with contextlib.suppress(OSError):
            for file in self._cache.glob(f"*.{wire.schema()}"):
                if time.time() - file.stat().st_mtime < KNOWN_FOR:
                    found[file.name.partition(".")[0]] = file.read_bytes()
        return found

    def _may_draw(self, host: str) -> bool:
        """Whether a host looks at its pictures, where they must be looked at."""
        state = self._states.get(host)
        checks = state is not None and state.beat is not None and state.beat.checks
        return checks or not self._must_check
