"""`darkroom worker`: draws for a bot on another machine, over NATS, with the models of this one."""

import argparse
import socket
from pathlib import Path
from typing import Final

import msgspec

from bot.config import Config
from bot.storage_folder import StartError
from generation.catalog import Catalog
from generation.hosting.host import WorkerName, named, serve
from generation.messaging.connection import NatsError

HELP_CONFIG: Final = "the settings; may stand before the command as well"
HELP_NAME: Final = "what the bot knows this machine by (default: [nats] name, else its own name)"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--nats", metavar="URL", help="the server, as nats://HOST:4222")
    parser.add_argument("--name", metavar="NAME", help=HELP_NAME)
    parser.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=HELP_CONFIG
    )


async def worker(config: Config, parsed: argparse.Namespace) -> int:
    """Draw until it is stopped."""
    given = {"url": parsed.nats, "name": parsed.name}
    settings = msgspec.structs.replace(
        config.nats, **{key: value for key, value in given.items() if value is not None}
    )
    if not settings.url:
        raise StartError("Name the server: --nats nats://HOST:4222, or url in [nats].")
    if wrong := settings.problem():
        raise StartError(f"{wrong}.")
    for own in config.engines.values():
        if own.engine != "darkroom":
            raise StartError(
                f'A machine that draws over NATS does so itself: leave out engine = "{own.engine}"'
                " here, and name the address of that in the config.toml of the bot."
            )
    name = settings.name or socket.gethostname().partition(".")[0]
    workers = [
        WorkerName(
            named(name, each, len(config.engines)),
            own.runtime(),
            own.hang_after,
            config.worker.stop_within,
        )
        for each, own in config.engines.items()
    ]
    cache = config.storage.folder / "cache"
    catalog = Catalog(config.model_folders, cache / "models.msgpack", config.models.settings)
    try:
        await serve(msgspec.structs.replace(settings, name=name), workers, catalog, cache)
    except NatsError as error:
        raise StartError(str(error)) from None
    return 0
