"""`darkroom`, or `python -m bot`: run the bot, make a picture without it, see what is wrong."""

import argparse
import asyncio
import io
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from bot.config import Config
from bot.config_file import ConfigError, load_config
from bot.logs import configure_logging
from bot.shipped import CONFIG, INSTALLED
from bot.stopping import ordered_stop
from bot.storage_folder import StartError
from generation.name_search import nearest
from generation.regular_files import printable

SIGNALLED = 128
"""Plus its number: the status of a program that a signal has ended."""
SIGPIPE: Final = 13
"""Which Windows does not have."""
ANSWERING: Final = (
    *("imagine", "describe", "doctor", "prompt", "models", "info", "convert", "fetch", "drain"),
    *("backup", "restore"),
)
"""Commands that end by themselves."""
DESCRIPTION: Final = "Run the bot, make a picture without it, or see what is wrong."


def main(arguments: list[str] | None = None) -> int:
    """Run the command that was named; returns the exit status: 2 for a wrong configuration."""
    _write_utf8()
    parsed = _parse(arguments)
    try:
        if INSTALLED and parsed.config == CONFIG and parsed.command in (None, "run"):
            from bot.cli.first_start import begin

            begin(CONFIG)
        config = load_config(parsed.config, needed=not INSTALLED or parsed.config != CONFIG)
    except (ConfigError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if parsed.command in ANSWERING and config.log.level == "info":
        # these have an output of their own, and doctor's and models' has all that is warned of
        level = "error" if parsed.command in ("doctor", "models", "info") else "warning"
        log = msgspec.structs.replace(config.log, level=level)
        config = msgspec.structs.replace(config, log=log)
    configure_logging(config.log)
    try:
        status = asyncio.run(_command(config, parsed))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if parsed.command not in ANSWERING:
            raise
        # whoever reads it has enough, as head has; nor is anything to be said of that at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + SIGPIPE
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _write_utf8() -> None:
    """A pipe or a file on Windows would have its code page, which lacks most of the world's names.

    A console knows all characters anyway.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


async def _command(config: Config, parsed: argparse.Namespace) -> int:
    """The exit status; a service that is told to stop and does has done its work."""
    with ordered_stop(config.worker.stop_within) as stop:
        try:
            return await _run(config, parsed)
        except asyncio.CancelledError:
            if stop.signal is None:
                raise
    serves = parsed.command not in ANSWERING
    return 0 if serves and stop.signal != signal.SIGINT else SIGNALLED + stop.signal


async def _run(config: Config, parsed: argparse.Namespace) -> int:
    match parsed.command:
        case "imagine":
            from bot.cli.imagine import imagine

            return await imagine(config, parsed)
        case "describe":
            from bot.cli.describe import describe

            return await describe(config, parsed)
        case "doctor":
            from bot.cli.doctor import doctor

            return await doctor(config)
        case "prompt":
            from bot.cli.prompt import prompt

            return prompt(config, parsed)
        case "models":
            from bot.cli.models import models

            return await models(config, parsed)
        case "info":
            from bot.cli.info import info

            return await info(config, parsed)
        case "convert":
            from bot.cli.convert import convert

            return await convert(parsed)
        case "fetch":
            from bot.cli.fetch import fetch

            return await fetch(config, parsed)
        case "worker":
            from bot.cli.worker import worker

            return await worker(config, parsed)
        case "drain":
            from bot.cli.drain import drain

            return await drain(config, parsed)
        case "backup":
            from bot.cli.backup import backup

            return await backup(config, parsed)
        case "restore":
            from bot.cli.backup import restore_backup

            return await restore_backup(config, parsed)
        case _:
            from bot.app import run

            return await run(config)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        sentence = message.replace("\n", " ")
        self.exit(2, f"{self.prog}: {sentence}. See {self.prog} --help.\n")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command_line()
    parsed, rest = parser.parse_known_args(arguments)
    if not rest:
        return parsed
    shown = printable(rest[0])[:80]
    if parsed.command and shown.split("=")[0] == "--config":
        parser.error(f"--config FILE stands before {parsed.command}, not behind it")
    parser.prog += f" {parsed.command}" if parsed.command else ""
    if parsed.command in ("imagine", "prompt") and not shown.startswith("-"):
        parser.error(f"“{shown}” is one text too many; put the whole prompt in quotes")
    if parsed.command == "imagine":
        from bot.cli.imagine import flags

        [alike] = nearest(shown, flags())
        parser.error(f"there is no {shown}; did you mean {alike}")
    return parser.error(f"{shown} means nothing there")


def command_line() -> argparse.ArgumentParser:
    """What the program takes."""
    parser = _Parser(prog="darkroom", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"darkroom {version('darkroom')}")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        metavar="FILE",
        help="the settings (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="start the bot (the default)")
    from bot.cli.imagine import RANGES, add_flags

    imagine = commands.add_parser("imagine", help="make pictures without any chat", epilog=RANGES)
    add_flags(imagine)
    from bot.cli.describe import add_flags as add_describing_flags
    from bot.cli.prompt import add_flags as add_prompt_flags

    described = commands.add_parser("describe", help="say what pictures show")
    add_describing_flags(described)
    prompt = commands.add_parser("prompt", help="show how a prompt is read")
    add_prompt_flags(prompt)
    commands.add_parser("doctor", help="check this machine, a line for each check")
    from bot.cli import backup, convert, drain, fetch, info, models, worker

    listing = commands.add_parser("models", help="list all models, and what is wrong with files")
    models.add_flags(listing)
    reading = commands.add_parser("info", help="show how pictures were made, and what is missing")
    info.add_flags(reading)
    converting = commands.add_parser("convert", help="make .safetensors of .ckpt, .pt, .pth, .bin")
    convert.add_flags(converting)
    fetching = commands.add_parser("fetch", help="fetch models of Hugging Face's hub")
    fetch.add_flags(fetching)
    drawing = commands.add_parser("worker", help="draw for a bot on another machine, over NATS")
    worker.add_flags(drawing)
    draining = commands.add_parser("drain", help="end the bot once all that was begun is done")
    drain.add_flags(draining)
    saving = commands.add_parser("backup", help="write all that is kept to one file")
    backup.add_backup_flags(saving)
    restoring = commands.add_parser("restore", help="bring a backup back into an empty folder")
    backup.add_restore_flags(restoring)
    return parser


if __name__ == "__main__":
    sys.exit(main())
