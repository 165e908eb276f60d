"""`python -m playground`: serve a local Discord and say on stdout where."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from .founding import Plan
from .intents import PRIVILEGED
from .interactions import ACKNOWLEDGE_WITHIN
from .server import Options, serving

END_WITHIN = 5.0
"""Seconds from the end of standard input to that of the process."""


def main() -> int:
    arguments = parser().parse_args()
    options = Options(
        port=arguments.port,
        data=arguments.data,
        token=arguments.token,
        plan=Plan(arguments.guild, tuple(arguments.users.split(","))),
        privileged_intents=tuple(arguments.privileged_intents),
        heartbeat_interval=arguments.heartbeat_interval,
        acknowledge_within=arguments.acknowledge_within,
        clock_skew=arguments.clock_skew,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(run(options, until_stdin_closes=arguments.until_stdin_closes))
    return 0


async def run(options: Options, *, until_stdin_closes: bool) -> None:
    try:
        ends = asyncio.Event()
        if until_stdin_closes:
            leave_signals_to_parent()
            watch_stdin(asyncio.get_running_loop(), ends)
        async with serving(options) as addresses:
            sys.stdout.write(json.dumps(dataclasses.asdict(addresses)) + "\n")
            sys.stdout.flush()
            # a look through all that is there is a tenth of a second without an answer
            gc.freeze()
            await ends.wait()
    except sqlite3.OperationalError as error:
        raise SystemExit(f"{options.data} can't be used: {error}") from error
    except OSError as error:
        raise SystemExit(f"Port {options.port} can't be used: {error.strerror}") from error


def leave_signals_to_parent() -> None:
    """Ctrl-C in a terminal reaches every process of it, but a bot still has something to say."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def watch_stdin(loop: asyncio.AbstractEventLoop, ends: asyncio.Event) -> None:
    """In a thread, since Windows can't wait for a pipe in the event loop.

    Nobody may be left who could end a process that does not end in order.
    """

    def watch() -> None:
        sys.stdin.read()
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(ends.set)
        time.sleep(END_WITHIN)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def parser() -> argparse.ArgumentParser:
    parsing = argparse.ArgumentParser(
        prog="python -m playground", description="A local Discord for trying and testing bots."
    )
    parsing.add_argument("--port", type=int, default=8100, help="0 picks a free one")
    parsing.add_argument("--data", type=Path, help="keep everything in this folder")
    parsing.add_argument("--token", help="the only bot token accepted (default: any)")
    parsing.add_argument("--guild", default="Darkroom", help="the server's name")
    parsing.add_argument("--users", default="ada,bo,cy", help="people; the first owns the server")
    parsing.add_argument(
        "--privileged-intents",
        nargs="*",
        default=[],
        choices=sorted(PRIVILEGED),
        help="privileged intents that are switched on for the bot (default: none)",
    )
    parsing.add_argument(
        "--heartbeat-interval", type=float, default=41.25, help="seconds between heartbeats"
    )
    parsing.add_argument(
        "--acknowledge-within",
        type=float,
        default=ACKNOWLEDGE_WITHIN,
        metavar="SECONDS",
        help="how long a bot may take to answer, say while a debugger holds it (default: 3)",
    )
    parsing.add_argument(
        "--clock-skew",
        type=float,
        help="seconds by which ids, Date and timestamps differ from this machine's clock",
    )
    parsing.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input is closed"
    )
    return parsing


if __name__ == "__main__":
    sys.exit(main())
