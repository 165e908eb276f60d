"""`python -m bot fetch MODEL…`: models of the hub come into its cache, where they are found."""

import argparse
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bot.config import Config
from bot.fetching import fetching
from bot.locales import Texts
from generation.assembly import missing
from generation.catalog import Catalog
from generation.families import FAMILIES, RECOGNISED
from generation.hub import Fetched, Fetching, FetchPlan, HubModel, NotFetched, read
from generation.models import ModelFile
from generation.regular_files import printable

MIB: Final = 2**20
GIB: Final = 2**30


def _model(text: str) -> HubModel:
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"“{printable(text)[:80]}”: {error}") from None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The models."""
    parser.add_argument(
        "models",
        nargs="+",
        type=_model,
        metavar="MODEL",
        help="OWNER/NAME of the hub, OWNER/NAME:FILE for one file of it, OWNER/NAME@BRANCH",
    )
    parser.add_argument(
        "--list", action="store_true", help="list what would be fetched, and its size"
    )


async def fetch(config: Config, arguments: argparse.Namespace) -> int:
    """Fetch each model; one that fails keeps none of the others. Returns the exit status."""
    ends = [await _fetch(config, model, listing=arguments.list) for model in arguments.models]
    return int(not all(ends))


async def _fetch(config: Config, model: HubModel, *, listing: bool) -> bool:
    """Whether it is there."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar: TaskID | None = None
        async with aclosing(fetching(config.huggingface, model)) as events:
            async for event in events:
                match event:
                    case FetchPlan():
                        _show(console, model, event)
                        if listing:
                            return True
                        name = model.repository
                        bar = progress.add_task(name, total=event.total, completed=event.there)
                    case Fetching() if bar is not None:
                        shown = printable(event.file)
                        progress.update(bar, completed=event.done, description=shown)
                    case NotFetched():
                        sys.stderr.write(f"{event.why}\n")
                        return False
                    case Fetched():
                        progress.stop()
                        await _tell(config, event, console)
    return True


def _show(console: Console, model: HubModel, plan: FetchPlan) -> None:
    """What is fetched, and how large it is."""
    for file in plan.files:
        console.print(f"{file.size / MIB:>10,.1f} MiB  {printable(file.name)}")
    there = f", {plan.there / GIB:.2f} of it there already" if plan.there else ""
    room = f"{plan.free / GIB:.1f} GiB are free"
    console.print(f"{model}: {plan.total / GIB:.2f} GiB{there}; {room} on the disk of the cache")


async def _tell(config: Config, fetched: Fetched, console: Console) -> None:
    """What the catalogue makes of it."""
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    await catalog.scan()
    snapshot = Path(fetched.snapshot)
    files = {snapshot, *(snapshot / name for name in fetched.files)}
    found = [model for model in catalog.all if model.path in files]
    for model in found:
        console.print(_told(model))
    for problem in catalog.problems:
        if problem.path in files:
            console.print(Texts("en-US")(problem.code, **problem.params), style="yellow")
            return
    if not found:
        console.print("It is there, but of no kind that can be used.", style="yellow")


def _told(model: ModelFile) -> str:
    family = FAMILIES.get(model.family)
    title = family.title if family else RECOGNISED.get(model.family, model.family)
    lacking = ", ".join(f"{one.folder}/{one.file}" for one in missing(model))
    lacks = f"; it lacks {lacking}" if lacking else ""
    return f"{model.name}: {model.kind}, {title}{lacks}"
