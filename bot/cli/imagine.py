"""`python -m bot imagine`: a request and its pictures, without any chat."""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bot.app import Studio, open_studio
from bot.config import Config
from bot.locales import Texts
from bot.pictures.decoding import PictureDecoder
from bot.pictures.uploads import read_file
from bot.storage_folder import InUseError, open_store
from generation import completion, prompt_flags
from generation.catalog import Catalog
from generation.job import Job, JobState, Origin
from generation.messages import JobEvent
from generation.messages import Progress as StepsDone
from generation.refusal import Refused
from generation.regular_files import printable
from generation.request import GenerationRequest
from generation.request_options import options
from generation.sizes import ASPECTS
from storage.errors import DatabaseError
from storage.jobs import JobStore

LOCALE = "en-US"
LOOK_EVERY = 0.5
"""Seconds, where another process makes the pictures."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every option of a request."""
    for option in options().values():
        if option.name == "prompt":
            parser.add_argument("prompt", help=option.help)
            continue
        hint = "FILE" if option.picture else option.type.__name__.upper()
        flag = "--" + option.name.replace("_", "-")
        parser.add_argument(flag, dest=option.name, metavar=hint, help=option.help)
    parser.add_argument("--aspect", help="instead of a size: " + ", ".join(ASPECTS))
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), help="folder for pictures")


async def imagine(config: Config, arguments: argparse.Namespace) -> int:
    """Make the pictures; one JSON line each on stdout, all else on stderr. Returns the status."""
    texts = Texts(LOCALE)
    # sentences name what people typed, which is no markup
    console = Console(stderr=True, markup=False)
    try:
        try:
            async with open_studio(config) as studio:
                job = await _make(studio, arguments, console)
                return await _write(studio.jobs, job, arguments.out, texts, console)
        except InUseError:
            async with open_store(config, migrating=False) as store:
                job = await _have_made(config, store.jobs, arguments, console)
                return await _write(store.jobs, job, arguments.out, texts, console)
    except DatabaseError as error:
        console.print(f"The database can't be used: {error}.", style="red", highlight=False)
        return 1
    except Refused as refused:
        console.print(
            texts(refused.code, **refused.params),
            style="red",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return 1


async def _make(studio: Studio, arguments: argparse.Namespace, console: Console) -> Job:
    request = await _request(studio.config, studio.catalog, studio.jobs, arguments)
    job = await studio.jobs.add(request, _origin())
    with _bar(console) as bar:
        task = bar.add_task("starting", total=None)

        def show(_job: Job, event: JobEvent | None) -> None:
            if isinstance(event, StepsDone):
                bar.update(task, description=event.stage, completed=event.step, total=event.steps)

        studio.worker.listen(show)
        await studio.worker.run_only(job.id)
    return await _job(studio.jobs, job.id)


async def _have_made(
    config: Config, jobs: JobStore, arguments: argparse.Namespace, console: Console
) -> Job:
    """The bot has the models: its worker takes the job from the queue that both share."""
    catalog = Catalog(config.model_folders)
    await catalog.scan()
    job = await jobs.add(await _request(config, catalog, jobs, arguments), _origin())
    with _bar(console) as bar:
        bar.add_task("waiting for the bot that is running", total=None)
        while True:
            found = await _job(jobs, job.id)
            if found.ended:
                return found
            await asyncio.sleep(LOOK_EVERY)


async def _job(jobs: JobStore, job_id: int) -> Job:
    job = await jobs.get(job_id)
    if job is None:
        raise RuntimeError(f"job {job_id} is no longer in the database")
    return job


async def _request(
    config: Config, catalog: Catalog, jobs: JobStore, arguments: argparse.Namespace
) -> GenerationRequest:
    given: dict[str, str | int | float] = {}
    for option in options().values():
        typed = getattr(arguments, option.name)
        if typed is None:
            continue
        if option.picture:
            given[option.name] = await _upload(config, jobs, Path(typed))
        else:
            given[option.name] = option.parse(typed)
    if arguments.aspect is not None:
        given["aspect"] = arguments.aspect
    given = prompt_flags.merge(prompt_flags.parse(str(given["prompt"])), given)
    if "preset" in given:
        raise Refused("preset_needs_server")
    given.pop("private", None)
    return completion.complete(given, catalog, config.rules)


async def _upload(config: Config, jobs: JobStore, path: Path) -> str:
    async with PictureDecoder(config.limits) as decoder:
        return await jobs.keep_upload(await read_file(path, decoder, config.limits))


async def _write(jobs: JobStore, job: Job, out: Path, texts: Texts, console: Console) -> int:
    await jobs.mark_delivered(job.id)
    if job.state is not JobState.FINISHED:
        failure = job.failure
        sentence = texts(failure.code, **failure.params) if failure else texts("internal_error")
        _say(console, sentence)
        return 1
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    for picture in job.pictures:
        path = out / f"{job.id:05}-{picture.index + 1}-{picture.seed}.png"
        await asyncio.to_thread(path.write_bytes, await jobs.read_picture(picture))
        line = {
            "file": printable(str(path)),
            "seed": picture.seed,
            "width": picture.width,
            "height": picture.height,
            "sha256": picture.pixels_sha256,
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
    return 0


def _say(console: Console, sentence: str) -> None:
    """In one line, and brackets in it are no markup."""
    console.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)


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
