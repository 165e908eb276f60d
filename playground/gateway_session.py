"""One client of the gateway: what RESUME comes back to, and its socket.

Opcodes and close codes are those of Discord's page "Gateway".
"""

# ruff: noqa: N818  (named for what happened, as in Discord's own list)

from __future__ import annotations

import asyncio
import json
import secrets
import time
import zlib
from collections import deque
from typing import Any

from aiohttp import web

from .intents import Intent
from .snowflake import Snowflake
from .world import Json

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE = 0, 1, 2, 3, 4
RESUME, RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, ACK = 6, 7, 8, 9, 10, 11

UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, BAD_TOKEN = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, BAD_SEQUENCE, TOO_FAST, TIMED_OUT = 4005, 4007, 4008, 4009
BAD_SHARD, BAD_VERSION, BAD_INTENTS, DISALLOWED_INTENTS = 4010, 4012, 4013, 4014

ENDS_SESSION = (1000, BAD_TOKEN, BAD_SHARD, BAD_VERSION, BAD_INTENTS, DISALLOWED_INTENTS)
"""Close codes after which a session can't be resumed."""

REPLAYED = 1000
"""Events kept for RESUME."""

RESUMABLE_FOR = 180.0
"""Seconds after a lost connection in which its session can be resumed."""

MAX_PAYLOAD = 4096
"""Bytes that a client may send at once."""


class Closed(Exception):
    """The connection ends with this close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Session:
    """One identified client, connected or waiting to resume."""

    def __init__(self, intents: int, shard: tuple[int, int]) -> None:
        self.id = secrets.token_hex(16)
        self.intents = Intent(intents)
        self.shard = shard
        self.sequence = 0
        self.events: deque[tuple[int, str]] = deque(maxlen=REPLAYED)
        self.connection: Connection | None = None
        self.lost_at = 0.0

    def wants(self, intent: Intent, guild_id: Snowflake | None) -> bool:
        number, count = self.shard
        of_shard = 0 if guild_id is None else (int(guild_id) >> 22) % count
        return of_shard == number and (not intent or bool(intent & self.intents))

    def send(self, name: str, data: Json) -> None:
        self.sequence += 1
        text = json.dumps({"op": DISPATCH, "t": name, "s": self.sequence, "d": data})
        self.events.append((self.sequence, text))
        if self.connection is not None:
            self.connection.write(text)

    def can_replay(self, sequence: int) -> bool:
        oldest = self.events[0][0] if self.events else self.sequence + 1
        return oldest - 1 <= sequence <= self.sequence


class Connection:
    """One socket: a queue of payloads and the task that writes them, compressed if asked for."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        compress: bool,
    ) -> None:
        self.socket = socket
        self.transport = transport
        self.session: Session | None = None
        self.heartbeat_at = time.monotonic()
        self.sends: deque[float] = deque()
        self.closed_here = False
        """Whatever code the client answers a close with, it did not say goodbye itself."""
        self._zlib = zlib.compressobj() if compress else None
        self._queue: asyncio.Queue[str | Closed] = asyncio.Queue()

    def write(self, text: str) -> None:
        self._queue.put_nowait(text)

    def send(self, opcode: int, data: object = None) -> None:
        self.write(json.dumps({"op": opcode, "d": data, "s": None, "t": None}))

    def close(self, code: int, reason: str = "") -> None:
        """Close once everything written so far is sent."""
        self.closed_here = True
        self._queue.put_nowait(Closed(code, reason))

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    async def write_all(self) -> None:
        while True:
            item = await self._queue.get()
            try:
                if isinstance(item, Closed):
                    await self.socket.close(code=item.code, message=item.reason.encode())
                    return
                if self._zlib is None:
                    await self.socket.send_str(item)
                else:
                    data = self._zlib.compress(item.encode())
                    await self.socket.send_bytes(data + self._zlib.flush(zlib.Z_SYNC_FLUSH))
            except ConnectionError:
                return


def decode(text: str | bytes) -> Json:
    if len(text.encode() if isinstance(text, str) else text) > MAX_PAYLOAD:
        raise Closed(DECODE_ERROR, "Error while decoding payload.")
    try:
        payload = json.loads(text)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise Closed(DECODE_ERROR, "Error while decoding payload.")
    return payload


def read_shard(shard: Any) -> tuple[int, int]:
    if shard is None:
        return 0, 1
    try:
        number, count = shard
    except (TypeError, ValueError):
        raise Closed(BAD_SHARD, "Invalid shard.") from None
    if not (isinstance(number, int) and isinstance(count, int) and 0 <= number < count):
        raise Closed(BAD_SHARD, "Invalid shard.")
    return number, count
