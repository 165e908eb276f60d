"""`python -m bot convert FILE…`: pickles become safetensors, in a process that imports torch."""

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from bot.shipped import PROJECT
from generation.families import FAMILIES, RECOGNISED
from generation.model_folders import PICKLES, Candidate
from generation.model_reader import ModelReader
from generation.models import ENDINGS
from generation.regular_files import is_regular, printable

SUFFIX: Final = ".safetensors"


class ConvertError(Exception):
    """A file can't be converted; the text says why."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=f"{', '.join(sorted(PICKLES))}"
    )


async def convert(arguments: argparse.Namespace) -> int:
    """Convert each file; one that fails keeps none of the others. Returns the exit status."""
    status = 0
    for file in arguments.files:
        try:
            written = await _convert(file)
        except ConvertError as error:
            sys.stderr.write(f"{printable(str(file))}: {error}\n")
            status = 1
        else:
            sys.stdout.write(f"{printable(str(written))}: {_what(written)}\n")
            sys.stdout.flush()
    return status


async def _convert(file: Path) -> Path:
    """The file beside it that was written. Raises ConvertError."""
    file = file.absolute()  # noqa: ASYNC240 - a command line serves nobody else
    into = _target(file)
    part = into.with_name(f".{into.name}.{os.getpid()}.part")
    try:
        answer = await _in_child(file, part)
        if "why" in answer:
            raise ConvertError(f"{printable(str(answer['why']))[:300]}.")
        _put(part, into)
    except OSError as error:
        raise ConvertError(f"{error.strerror or type(error).__name__}.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return into


def _target(file: Path) -> Path:
    """Where it is to be written. Raises ConvertError."""
    if file.suffix.lower() in ENDINGS:
        raise ConvertError(f"a {file.suffix.lower()} file is read as it is.")
    if file.suffix.lower() not in PICKLES:
        raise ConvertError(f"only {', '.join(sorted(PICKLES))} are converted.")
    if not is_regular(file):
        raise ConvertError("there is no such file.")
    into = file.with_suffix(SUFFIX)
    if os.path.lexists(into):
        raise ConvertError(f"{printable(into.name)} is there already. Move it elsewhere first.")
    return into


async def _in_child(file: Path, part: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "generation.runtime.convert", file, part),
        cwd=PROJECT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(out.splitlines()[-1], type=dict[str, Any])
    except (IndexError, msgspec.MsgspecError):
        return {"why": f"the process that converts ended with status {process.returncode}"}


def _put(part: Path, into: Path) -> None:
    """In one step, and over nothing that came meanwhile."""
    there = ConvertError(f"{printable(into.name)} is there already. Move it elsewhere first.")
    try:
        os.link(part, into)
    except FileExistsError:
        raise there from None
    except OSError:  # a disk that knows no second names
        if os.path.lexists(into):
            raise there from None
        part.rename(into)


def _what(file: Path) -> str:
    """What the catalogue makes of a file."""
    reading = ModelReader().read(Candidate(file, file.parent, ""))
    if reading.model is None:
        return "written, but of no kind that can be used"
    family = FAMILIES.get(reading.model.family)
    title = family.title if family else RECOGNISED.get(reading.model.family, "")
    return str(reading.model.kind) + (f", {title}" if title else "")
