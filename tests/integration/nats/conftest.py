"""A NATS server, hosts that draw without a model, and the bot's pool that has them draw."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from generation.engines.fake import FakeEngine
from generation.fleet.catalog import FleetCatalog
from generation.fleet.hosts import Fleet
from generation.hosting.host import WorkerName, serve
from generation.job import Job, JobState
from generation.messages import JobEvent, RuntimeSettings
from generation.messaging.settings import NatsSettings
from generation.worker_pool import WorkerPool
from storage.database import open_database, sqlite_url
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from tests.fixtures.host_process import FilesCatalog, HostOptions, HostProcess
from tests.fixtures.requests import a_request, an_origin
from tests.nats_server import NatsServer, running
from tests.patience import PATIENCE

AWAY_AFTER = 9.0
"""Seconds; longer than two beats, and than a busy machine forgets a process."""


class Stage:
    """The server, the bot's half, and the hosts by their names."""

    def __init__(self, server: NatsServer, folder: Path, jobs: JobStore) -> None:
        self.server = server
        self.jobs = jobs
        self.settings = NatsSettings(url=server.url, away_after=AWAY_AFTER)
        self.users = False
        """Whether the bot and each host are users of their own, with passwords like their names."""
        self.folder = folder
        self.engines: dict[str, FakeEngine] = {}
        self.heard: list[tuple[int, JobEvent | None]] = []
        self._hosts: dict[str, asyncio.Task[None]] = {}
        self._processes: list[HostProcess] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.needs_check = False
        self.own = FilesCatalog(folder / "own", demo="demo")
        self.catalog = FleetCatalog(self.own)
        self.workers = WorkerPool(jobs, self.catalog, affinity=60.0)
        self.fleet: Fleet

    async def bot(self, own: FilesCatalog | None = None) -> None:
        """Start the bot's half."""
        self.own = own or self.own
        self.catalog = FleetCatalog(self.own)
        self.workers = WorkerPool(self.jobs, self.catalog, affinity=60.0)
        self.workers.listen(lambda job, event: self.heard.append((job.id, event)))
        await self.catalog.scan()
        self.fleet = Fleet(
            self.settings_of("bot"),
            self.workers,
            self.catalog,
            self.folder / "cache",
            needs_check=lambda: self.needs_check,
        )
        self._tasks = [
            asyncio.create_task(self.workers.run()),
            asyncio.create_task(self.fleet.run()),
        ]

    def settings_of(self, who: str) -> NatsSettings:
        user = {"user": who, "password": who} if self.users else {}
        return msgspec.structs.replace(self.settings, **user)

    async def end_bot(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.workers.stop()
        self._tasks = []

    def host(self, name: str, step_seconds: float = 0.01, **files: str) -> FakeEngine:
        """Start a host with these checkpoints."""
        engine = self.engines[name] = FakeEngine(step_seconds=step_seconds)
        files = files or {"demo": "demo"}
        catalog = FilesCatalog(self.folder / name, **files)
        serving = serve(
            self.settings_of(name),
            [WorkerName(name, RuntimeSettings(picture_check_model="off"))],
            catalog,
            self.folder / name,
            engines={name: engine},
        )
        self._hosts[name] = asyncio.create_task(serving)
        return engine

    async def end_host(self, name: str) -> None:
        task = self._hosts.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def process(self, name: str, folder: str = "", workers: int = 1, **files: str) -> HostProcess:
        """Start a host as a process of its own."""
        options = HostOptions(
            name=name,
            url=self.server.url.replace("://", f"://{name}:{name}@" if self.users else "://"),
            away_after=AWAY_AFTER,
            workers=workers,
            files=files or {"demo": "demo"},
        )
        made = HostProcess(self.folder / (folder or name), options)
        self._processes.append(made)
        made.start()
        return made

    async def kill_bot(self) -> None:
        """End the bot's half without a word to anybody."""
        connection = self.fleet._exchange.connection
        assert connection is not None
        connection.back.clear()
        for of, name in ((connection, "sweep"), (connection.stream, "delete_consumer")):
            setattr(of, name, _nothing)
        await self.end_bot()

    async def there(self, *names: str) -> None:
        """Wait until these hosts and no others draw."""
        await self.until(lambda: {one.name for one in self.workers.workers} == set(names))

    async def ask(self, model: str = "demo", user: int = 1, **changes: object) -> int:
        job = await self.jobs.add(a_request(model=model, **changes), an_origin(user))
        self.workers.wake(job)
        return job.id

    async def job(self, number: int) -> Job:
        job = await self.jobs.get(number)
        assert job is not None
        return job

    async def ended(self, number: int) -> Job:
        async with asyncio.timeout(PATIENCE):
            while not (job := await self.job(number)).ended:
                await asyncio.sleep(0.02)
        return job

    async def finished(self, number: int) -> Job:
        job = await self.ended(number)
        assert job.state is JobState.FINISHED, job.failure
        return job

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.end_bot()
        for name in tuple(self._hosts):
            await self.end_host(name)
        for process in self._processes:
            process.kill()


async def _nothing(*_: object) -> None:
    pass


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def stage(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Stage]:
    database = await open_database(sqlite_url(tmp_path / "test.sqlite3"))
    made = Stage(nats_server, tmp_path, JobStore(database, PictureFiles(tmp_path / "pictures")))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.dispose)
        stack.push_async_callback(made.close)
        yield made
