"""`python -m bot models`: all that lies in the model folders, and what is wrong with it."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.cli.arguments import folder, name
from bot.config import Config
from bot.locales import Texts
from generation.assembly import missing
from generation.catalog import Catalog
from generation.checks import check_runnable
from generation.families import FAMILIES, RECOGNISED
from generation.models import ModelFile, ModelKind, Unusable
from generation.refusal import Refused
from generation.regular_files import printable

LOCALE: Final = "en-US"
CHECKED_WITH: Final = "a red apple"
"""What is drawn to see whether a model draws."""
RECOGNISED_ONLY: Final = "this version can't run it"
MIB: Final = 2**20


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How the list is printed, and what is drawn."""
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument(
        "--check",
        type=name,
        metavar="NAME",
        help="draw one picture with this model instead, into --out",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=folder,
        default=Path("out"),
        metavar="FOLDER",
        help="folder for the picture (default: %(default)s)",
    )


async def models(config: Config, arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    if arguments.check is not None:
        return await _check(config, arguments)
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    await catalog.scan()
    texts = Texts(LOCALE)
    if arguments.json:
        document = {
            "models": [_described(model, texts) for model in catalog.all],
            "problems": [
                {
                    "file": problem.where,
                    "code": problem.code,
                    "problem": texts(problem.code, **problem.params),
                }
                for problem in catalog.problems
            ],
        }
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        return 0
    console = Console()
    console.print(_table(catalog, texts))
    _problems(catalog.problems, texts, console)
    for called, model in catalog.awaited.items():
        line = f"{printable(called)} is not there yet: darkroom fetch {model}"
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    return 0


async def _check(config: Config, arguments: argparse.Namespace) -> int:
    from bot.cli import imagine

    parser = argparse.ArgumentParser()
    imagine.add_flags(parser)
    # a name may begin as a flag does
    flags = [f"--model={arguments.check}", "--seed=1", f"--out={arguments.out}"]
    return await imagine.imagine(config, parser.parse_args([CHECKED_WITH, *flags]))


def _described(model: ModelFile, texts: Texts) -> dict[str, Any]:
    return {
        "kind": str(model.kind),
        "name": model.name,
        "family": model.family,
        "variant": model.variant,
        "quantisation": model.quantisation,
        "file": printable(str(model.path)),
        "bytes": model.size,
        "trigger_words": model.trigger_words,
        "carries": model.carries,
        "parts": {part: file.name for part, file in model.parts.items()},
        "lacks": [f"{one.folder}/{one.file}" for one in missing(model)],
        "problem": _problem_of(model, texts),
    }


def _problem_of(model: ModelFile, texts: Texts) -> str:
    """Why a checkpoint that is whole can't be drawn with; "" where it can."""
    if model.kind is ModelKind.CHECKPOINT:
        try:
            check_runnable(model)
        except Refused as refused:
            return texts(refused.code, **refused.params)
    return ""


def _table(catalog: Catalog, texts: Texts) -> Table:
    table = Table("Kind", "Name", "Family", "Variant", "MiB", "Remarks")
    table.columns[4].justify = "right"
    for column in table.columns:
        column.overflow = "fold"
    for model in catalog.all:
        family = FAMILIES.get(model.family)
        title = family.title if family else RECOGNISED.get(model.family, model.family)
        variant = ", ".join(filter(None, (model.variant, model.quantisation)))
        row = (str(model.kind), model.name, title, variant, f"{model.size / MIB:,.0f}")
        lacking = ", ".join(f"{one.folder}/{one.file}" for one in missing(model))
        remark = RECOGNISED_ONLY if model.kind is ModelKind.CHECKPOINT and family is None else ""
        remark = f"lacks {lacking}" if lacking else remark
        # names are no markup
        table.add_row(*(Text(cell) for cell in (*row, remark)))
    return table


def _problems(problems: tuple[Unusable, ...], texts: Texts, console: Console) -> None:
    for problem in problems:
        line = f"{problem.where}\n  {texts(problem.code, **problem.params)}"
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
