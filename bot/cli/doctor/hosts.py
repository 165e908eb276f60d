"""NATS, and the workers on other hosts that it knows."""

from collections.abc import AsyncIterator

import msgspec
import structlog

from bot.cli.doctor.finding import Finding
from bot.config import Config
from generation.messaging import wire
from generation.messaging.connection import Connection, NatsError, connected, errors
from generation.messaging.wire import Beat
from generation.regular_files import printable

log = structlog.get_logger(__name__)


async def check_hosts(config: Config) -> AsyncIterator[Finding]:
    """The server's answer, whether it keeps what is sent, and a line for each host."""
    if not config.nats.url:
        return
    shown = config.nats.shown
    try:
        connecting = connected(config.nats, "darkroom doctor", inbox=wire.BOT, waits=False)
        async with connecting as connection:
            await connection.prepare()
            beats = await _beats(connection)
    except NatsError as error:
        yield Finding("NATS", shown, f"{error}. Is it started, and [nats] right?", fatal=False)
        return
    except errors() as error:
        mend = f"JetStream does not answer ({error or type(error).__name__}): start NATS with -js."
        yield Finding("NATS", shown, mend, fatal=False)
        return
    yield Finding("NATS", f"{shown} answers, with JetStream")
    for beat in beats:
        yield _of(beat)
    if not beats:
        mend = "Start `darkroom worker` on another machine (docs/workers.md)."
        yield Finding("hosts", "none", mend, fatal=False)


async def _beats(connection: Connection) -> list[Beat]:
    info = await connection.stream.stream_info(f"KV_{wire.HOSTS}", subjects_filter=">")
    found = []
    for subject in sorted(info.state.subjects or {}):
        try:
            entry = await connection.hosts.get(subject.rpartition(".")[2])
            found.append(wire.unpack(entry.value or b"", Beat))
        except errors():
            continue  # it has left
        except (msgspec.DecodeError, ValueError):
            log.debug("a host of another version")
    return found


def _of(beat: Beat) -> Finding:
    name = printable(f"{beat.name} on {beat.machine}")
    if beat.schema != wire.schema():
        mend = "It runs another version of Darkroom: install the same on both."
        return Finding("host", f"{name}: version {beat.version}", mend, fatal=False)
    if beat.ready is None:
        mend = printable(beat.trouble) or "It is starting."
        return Finding("host", f"{name}: draws nothing yet", mend, fatal=False)
    return Finding("host", f"{name}: {beat.ready.device_name}, {beat.ready.precision}")
