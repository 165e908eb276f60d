"""What goes over NATS, beside the messages that cross the pipe to the process with the models."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec

from generation.messages import EngineWork, FromRuntime, Ready, ToRuntime, encode
from generation.models import ModelFile

JOBS: Final = "darkroom_jobs"
"""A stream: the orders of each host, gone once it has done them."""
RESULTS: Final = "darkroom_results"
"""A stream: what came of them, by the bot that ordered."""
HOSTS: Final = "darkroom_hosts"
"""A bucket: each host's last beat, gone when it is silent."""
DRIVERS: Final = "darkroom_drivers"
"""A bucket: which bot has each host draw for it."""
PICTURES: Final = "darkroom_pictures"
"""An object store: what hosts draw from, and what they drew."""
MODELS: Final = "darkroom_models"
"""An object store: which models each host has."""
BOT: Final = "bot"
"""Where bots get their answers, below `_INBOX`; hosts get theirs below their machine's name."""
KNOCK: Final = "darkroom.knock"
"""A host says on it that its beat is worth a look."""

BEAT_EVERY: Final = 3.0
"""Seconds."""
ACK_WITHIN: Final = 20.0
"""Seconds; an order of which its host has said nothing for so long is given out again."""
RESULTS_KEPT: Final = 3600.0
PICTURES_KEPT: Final = 6 * 3600.0


def jobs_of(host: str) -> str:
    """The subject of a host's orders."""
    return f"darkroom.jobs.{host}"


def results_of(session: str, order: str = "*") -> str:
    """The subject of what came of an order."""
    return f"darkroom.results.{session}.{order}"


def progress_of(session: str, order: str = "*") -> str:
    """The subject of what may be lost: progress and previews."""
    return f"darkroom.progress.{session}.{order}"


def wanted_of(session: str) -> str:
    """Where a bot answers whether it still wants an order."""
    return f"darkroom.wanted.{session}"


def control_of(host: str) -> str:
    """Where a host hears what it is to leave."""
    return f"darkroom.control.{host}"


class Order(msgspec.Struct, frozen=True):
    """A job for one host, as often as it is given to one: each time it is another order, so that
    nothing is heard of one that was given up.
    """

    id: str
    session: str
    """The run of the bot that wants it."""
    work: bytes
    """EngineWork without the pictures' bytes."""

    def upload(self, sha256: str) -> str:
        """What a picture that it is drawn from is called in the object store."""
        return f"{self.session}.{self.id}.{sha256}"


class Leave(msgspec.Struct, frozen=True, tag=True):
    """An order that nobody wants any more: not to be begun, or to be stopped at its next step."""

    order: str


class OnlyOf(msgspec.Struct, frozen=True, tag=True):
    """A bot has taken the host over: the orders of all others are to be left."""

    session: str


class HostReply(msgspec.Struct, frozen=True):
    """What a host says of an order."""

    order: str
    run: str
    """The run of the host: one that was started anew begins the order anew."""
    number: int
    """Counts what goes through the stream, from 1; 0 of progress and previews."""
    event: bytes
    """An EngineEvent; the file of one that has a picture lies in the object store."""
    file: str = ""
    """Its SHA-256."""

    def object(self, session: str) -> str:
        """What its file is called there."""
        return f"{session}.{self.order}.{self.run}.{self.number}"


class Beat(msgspec.Struct, frozen=True):
    """What a host says of itself every few seconds."""

    name: str
    run: str
    schema: str
    """Of the messages; a bot gives no orders to a host that reads them otherwise."""
    version: str
    machine: str
    process: int
    ready: Ready | None = None
    trouble: str = ""
    """Why it can't draw."""
    models: str = ""
    """The hash of the list of its models, which is its name in the object store."""
    checks: bool = False
    """Whether it looks at what it draws for what is unsafe."""
    orders: tuple[str, ...] = ()
    """Those that it has in hand."""


class Listing(msgspec.Struct, frozen=True):
    """A host's models. Their paths are what `identified` makes of them."""

    models: tuple[ModelFile, ...]


def identified(identity: str, path: Path) -> str:
    """How a file of a host is told to others: by what identifies it, and without where it lies."""
    return f"{identity}/{path.parent.name}/{path.name}"


def identity_of(path: PurePath) -> str:
    """What identifies a file that was told so."""
    return path.parts[0] if path.parts else ""


def pack(message: Any, path: Callable[[Path], str] | None = None) -> bytes:
    """A message as bytes; paths as `path` tells them."""
    if path is None:
        return encode(message)

    def encoded(value: object) -> str:
        if isinstance(value, Path):
            return path(value)
        raise NotImplementedError(type(value))

    return msgspec.msgpack.encode(message, enc_hook=encoded)


def unpack(body: bytes, type_: Any, path: Callable[[str], Path] = Path) -> Any:
    """A message of bytes; `path` finds what a path means here. Raises msgspec.DecodeError."""

    def decoded(wanted: type, value: object) -> object:
        if wanted is Path and isinstance(value, bytes | str):
            return path(value.decode(errors="replace") if isinstance(value, bytes) else value)
        raise TypeError(f"{type(value).__name__} is no path")

    try:
        return msgspec.msgpack.decode(body, type=type_, dec_hook=decoded)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deep") from error


@functools.cache
def schema() -> str:
    """What tells whether two programs mean the same by their messages."""
    types = [EngineWork, FromRuntime, ToRuntime, Order, Leave | OnlyOf, HostReply, Listing]

    def hook(_: type) -> dict[str, Any]:
        return {"type": "string"}

    shapes, parts = msgspec.json.schema_components(types, schema_hook=hook)
    text = msgspec.json.encode([shapes, parts], order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]
