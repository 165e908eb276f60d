"""`python -m generation.runtime --nats URL --name NAME`: a worker for a bot elsewhere, without a
configuration file. `darkroom worker` is the same with one.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from generation.catalog import Catalog
from generation.hosting.host import WorkerName, serve
from generation.messages import RuntimeSettings
from generation.messaging.connection import NatsError
from generation.messaging.settings import NatsSettings

PROJECT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = PROJECT / "data" / "cache"
FILES: Final = ("credentials", "nkey", "tls_ca", "tls_cert", "tls_key")
WORDS: Final = ("user", "password", "token")


def main(arguments: Sequence[str]) -> int:
    """Draw until it is stopped; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    given = {name: getattr(parsed, name) for name in (*FILES, *WORDS)}
    settings = NatsSettings(
        url=parsed.nats,
        name=parsed.name,
        **{name: value for name, value in given.items() if value is not None},
    )
    wrong = settings.problem()
    if wrong:
        sys.stderr.write(f"{wrong}.\n")
        return 2
    try:
        asyncio.run(_serve(settings, parsed))
    except NatsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(settings: NatsSettings, parsed: argparse.Namespace) -> None:
    catalog = Catalog(parsed.models or (PROJECT / "models",), parsed.cache / "models.msgpack")
    worker = WorkerName(settings.name, RuntimeSettings(device=parsed.device))
    serving = asyncio.ensure_future(serve(settings, [worker], catalog, parsed.cache))
    with contextlib.suppress(NotImplementedError):  # the loops of Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generation.runtime", description="Draw for a bot elsewhere, over NATS."
    )
    parser.add_argument("--nats", metavar="URL", required=True, help="as nats://HOST:4222")
    name = socket.gethostname().partition(".")[0]
    parser.add_argument("--name", default=name, help="what the bot knows it by (%(default)s)")
    parser.add_argument(
        "--models", type=Path, action="append", metavar="FOLDER", help="may be repeated"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="FOLDER",
        help="default: %(default)s",
    )
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:0, mps, cpu")
    for file in FILES:
        parser.add_argument(f"--{file.replace('_', '-')}", type=Path, metavar="FILE")
    for word in WORDS:
        parser.add_argument(f"--{word}", metavar="TEXT")
    return parser
