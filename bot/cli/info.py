"""`python -m bot info`: what pictures say of how they were made, and what would be asked for."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from bot.config import Config
from bot.locales import Texts
from bot.pictures.decoding import PictureDecoder
from bot.pictures.infos import info_of
from bot.pictures.uploads import read_plain
from generation.catalog import Catalog
from generation.info import asking
from generation.info.file_hashes import FileHashes
from generation.info.found import Info
from generation.info.resolving import NotHere, Resolved, resolve
from generation.refusal import Refused
from generation.regular_files import printable
from generation.request import GenerationRequest

LOCALE: Final = "en-US"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, and how they are printed."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a PNG, JPEG, WebP or AVIF"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='one line for each file; "request" is what would be asked for, "missing" what is not '
        "here",
    )


async def info(config: Config, arguments: argparse.Namespace) -> int:
    """Print what the files say; returns the exit status: 1 where one says nothing."""
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    await catalog.scan()
    hashes = FileHashes(config.storage.folder / "cache")
    async with PictureDecoder(config.limits) as decoder:
        return await _each(config, arguments, catalog, hashes, decoder)


async def _each(
    config: Config,
    arguments: argparse.Namespace,
    catalog: Catalog,
    hashes: FileHashes,
    decoder: PictureDecoder,
) -> int:
    texts, status = Texts(LOCALE), 0
    for path in arguments.files:
        try:
            data = await asyncio.to_thread(read_plain, path, config.limits)
            found = await info_of(data, path.name, decoder)
        except Refused as refused:
            sys.stderr.write(printable(texts(refused.code, **refused.params)) + "\n")
            status = 1
            continue
        resolved = await asyncio.to_thread(resolve, found, catalog, hashes)
        request, why = _request(found, resolved, catalog, config, texts)
        if arguments.json:
            document = {"file": printable(str(path)), **described(found, resolved, texts)}
            document |= {"request": request, "refused": why}
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        else:
            _show(path, found, resolved, why, texts)
    return status


def described(found: Info, resolved: Resolved, texts: Texts) -> dict[str, Any]:
    """All that is said of a file, but for the request."""
    return {
        "program": found.program,
        "prompt": found.prompt,
        "negative_prompt": found.negative_prompt,
        "options": found.given,
        "files": {
            option: {"name": file.name, "hash": file.hash} for option, file in found.files.items()
        },
        "loras": [msgspec.to_builtins(use) for use in found.loras],
        "conventions": found.conventions,
        "missing": msgspec.to_builtins(resolved.missing),
        "missing_beside": msgspec.to_builtins(resolved.missing_beside),
        "ignored": list(found.ignored),
        "notes": [texts(note.code, **note.params) for note in found.notes],
        "text": found.text,
    }


def _request(
    found: Info, resolved: Resolved, catalog: Catalog, config: Config, texts: Texts
) -> tuple[GenerationRequest | None, str]:
    """What would be asked for, or why nothing would be."""
    try:
        return asking.request_of(found, resolved, catalog, config.rules), ""
    except Refused as refused:
        return None, texts(refused.code, **refused.params)


def _show(path: Path, found: Info, resolved: Resolved, why: str, texts: Texts) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(Text.assemble((printable(str(path)), "bold"), f"  {printable(found.program)}"))
    lines = [("prompt", found.prompt), ("negative prompt", found.negative_prompt)]
    lines += [(option, file.name or file.hash) for option, file in found.files.items()]
    lines += [("lora", f"{use.name} × {use.weight:g}") for use in found.loras]
    lines += [(option, str(value)) for option, value in found.given.items()]
    for name, value in lines:
        if value:
            shown = "\n".join(map(printable, value.split("\n")))
            console.print(Text.assemble((f"{name}: ", "green"), shown))
    for missing in (*resolved.missing, *resolved.missing_beside):
        console.print(Text(_missing(missing), "red"))
    if found.ignored:
        named = printable(", ".join(found.ignored))
        console.print(Text(texts("info_ignored", keys=named), "yellow"))
    for note in found.notes:
        console.print(Text(printable(texts(note.code, **note.params)), "yellow"))
    if why and not resolved.missing:
        console.print(Text(printable(why), "red"))


def _missing(missing: NotHere) -> str:
    alike = f"; nearest: {', '.join(missing.nearest)}" if missing.nearest else ""
    return printable(f"missing {missing.kind}: {missing.name}{alike}")
