"""`darkroom drain`: have the bot that runs come to its end once all that was begun is done."""

import argparse
import asyncio
import sys
import time
from typing import Final

from bot.config import Config
from bot.pausing import DRAIN
from bot.storage_folder import InUseError, StartError, owning

LOOK_EVERY: Final = 0.3


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="how long to wait for its end (default: %(default)s); it is drained all the same",
    )


async def drain(config: Config, arguments: argparse.Namespace) -> int:
    """Ask for it and wait; what waits to be drawn is drawn after the next start. The exit status:
    0 once the bot has ended, 1 where it has not yet, 2 where none runs.
    """
    if not _runs(config):
        sys.stderr.write(f"No bot works with {config.storage.folder}.\n")
        return 2
    file = config.storage.folder / DRAIN
    try:
        file.touch()
    except OSError as error:
        raise StartError(f"{file}: {error.strerror or error}") from None
    sys.stdout.write("The bot draws what it has begun, delivers it, and ends.\n")
    sys.stdout.flush()
    ends = time.monotonic() + arguments.timeout
    while time.monotonic() < ends:
        if not _runs(config):
            # nobody is left whom it could concern
            file.unlink(missing_ok=True)
            sys.stdout.write("It has ended.\n")
            return 0
        # one that has only just started takes the first for an earlier process's, and removes it
        file.touch()
        await asyncio.sleep(LOOK_EVERY)
    sys.stderr.write(f"It has not ended in {arguments.timeout:g} s. It will.\n")
    return 1


def _runs(config: Config) -> bool:
    try:
        with owning(config):
            return False
    except InUseError:
        return True
