"""Has a job done for a command: by a worker of this process, or by the bot that has the models."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bot.app import Studio, open_studio, start_engines
from bot.config import Config
from bot.storage_folder import InUseError, StartError, open_store
from generation.catalog import Catalog
from generation.engines import EngineError
from generation.job import Job, Origin
from generation.messages import JobEvent
from generation.messages import Progress as StepsDone
from generation.request import GenerationRequest
from storage.jobs import JobStore

LOCALE: Final = "en-US"
LOOK_EVERY: Final = 0.5
"""Seconds, where another process makes the pictures."""


class Maker(Protocol):
    """Makes the pictures of one request."""

    config: Config
    jobs: JobStore
    catalog: Catalog

    async def make(
        self, request: GenerationRequest, console: Console, action: str = "imagine"
    ) -> Job:
        """The job, ended."""


class OwnMaker:
    """Draws in this process's own worker."""

    def __init__(self, studio: Studio) -> None:
        self.config = studio.config
        self.jobs = studio.jobs
        self.catalog = studio.catalog
        self._studio = studio
        self._bar: tuple[Progress, TaskID] | None = None
        studio.workers.listen(self._hear)

    async def make(
        self, request: GenerationRequest, console: Console, action: str = "imagine"
    ) -> Job:
        """The job, ended."""
        if not self._studio.workers.workers:
            raise StartError(
                "[nats] draw_here is false, so this machine draws nothing: start the bot, which has"
                " other machines draw what the command line asks for."
            )
        job = await self.jobs.add(request, _origin(), action=action)
        with _bar(console) as bar:
            self._bar = bar, bar.add_task("starting", total=None)
            with contextlib.suppress(EngineError):  # the job ends with what is wrong
                await start_engines(self._studio)
            await self._studio.workers.run_only(job.id)
        return await _job(self.jobs, job.id)

    def _hear(self, _job: Job, event: JobEvent | None) -> None:
        if isinstance(event, StepsDone) and self._bar is not None:
            bar, task = self._bar
            bar.update(task, description=event.stage, completed=event.step, total=event.steps)


class OthersMaker:
    """The bot has the models: its worker takes jobs from the queue that both share."""

    def __init__(self, config: Config, jobs: JobStore, catalog: Catalog) -> None:
        self.config = config
        self.jobs = jobs
        self.catalog = catalog

    async def make(
        self, request: GenerationRequest, console: Console, action: str = "imagine"
    ) -> Job:
        """The job, ended."""
        job = await self.jobs.add(request, _origin(), action=action)
        with _bar(console) as bar:
            bar.add_task("waiting for the bot that is running", total=None)
            while True:
                found = await _job(self.jobs, job.id)
                if found.ended:
                    return found
                await asyncio.sleep(LOOK_EVERY)


async def _job(jobs: JobStore, job_id: int) -> Job:
    job = await jobs.get(job_id)
    if job is None:
        raise RuntimeError(f"job {job_id} is no longer in the database")
    return job


def say(sentence: str, console: Console, style: str = "red") -> None:
    """In one line, and brackets in it are no markup."""
    console.print(sentence, style=style, highlight=False, markup=False, soft_wrap=True)


def _origin() -> Origin:
    return Origin(user_id=0, user_name="command line", locale=LOCALE)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


@contextlib.asynccontextmanager
async def a_maker(config: Config) -> AsyncIterator[Maker]:
    """This process's own, or where the bot runs, the bot's. Raises storage.errors.DatabaseError."""
    async with contextlib.AsyncExitStack() as stack:
        maker: Maker
        try:
            maker = OwnMaker(await stack.enter_async_context(open_studio(config)))
        except InUseError:
            store = await stack.enter_async_context(open_store(config, migrating=False))
            catalog = Catalog(config.model_folders, settings=config.models.settings)
            await catalog.scan()
            maker = OthersMaker(config, store.jobs, catalog)
        yield maker
