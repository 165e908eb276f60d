"""The gateway: Discord's WebSocket, version 10, JSON, with `zlib-stream` when asked for.

Other compression (`zstd-stream`) is not done: the payloads go as text, which clients take as well.

A `Session` is what RESUME comes back to: intents, a sequence and the last events. A `Connection`
is one socket. Opcodes and close codes are those of Discord's page "Gateway".
"""

# ruff: noqa: N818  (named for what happened, as in Discord's own list)

from __future__ import annotations

import asyncio
import json
import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from .errors import DiscordError
from .events import Events
from .intents import HIGHEST, Intent, disallowed
from .objects import Objects
from .snowflake import Snowflake
from .world import Json, World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE = 0, 1, 2, 3, 4
RESUME, RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, ACK = 6, 7, 8, 9, 10, 11

UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, BAD_TOKEN = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, BAD_SEQUENCE, TOO_FAST, TIMED_OUT = 4005, 4007, 4008, 4009
BAD_SHARD, BAD_VERSION, BAD_INTENTS, DISALLOWED_INTENTS = 4010, 4012, 4013, 4014

REPLAYED = 1000
"""Events kept for RESUME."""

RESUMABLE_FOR = 180.0
"""Seconds after a lost connection in which its session can be resumed."""

ACK_DELAY = 0.05
"""Seconds before a heartbeat is acknowledged: a client that notes the time of sending only after
it has sent would else take the answer for one to the heartbeat before."""

MAX_PAYLOAD = 4096
"""Bytes that a client may send at once."""

SENDS_PER_MINUTE = 120


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
        self._zlib = zlib.compressobj() if compress else None
        self._queue: asyncio.Queue[str | Closed] = asyncio.Queue()

    def write(self, text: str) -> None:
        self._queue.put_nowait(text)

    def send(self, opcode: int, data: object = None) -> None:
        self.write(json.dumps({"op": opcode, "d": data, "s": None, "t": None}))

    def close(self, code: int, reason: str = "") -> None:
        """Close once everything written so far is sent."""
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


class Gateway:
    def __init__(
        self,
        world: World,
        objects: Objects,
        events: Events,
        *,
        check_token: Callable[[str], bool],
        heartbeat_interval: float = 41.25,
    ) -> None:
        self.world = world
        self.objects = objects
        self.events = events
        self.check_token = check_token
        self.heartbeat_interval = heartbeat_interval
        self.url = ""
        self.zombie = False
        """Heartbeats are no longer acknowledged (until the next connection)."""
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()

    @property
    def online(self) -> bool:
        return any(s.connection is not None for s in self.sessions.values())

    def dispatch(
        self,
        name: str,
        render: Callable[[Intent], Json],
        intent: Intent,
        guild_id: Snowflake | None,
    ) -> None:
        self._forget_old_sessions()
        for session in self.sessions.values():
            if session.wants(intent, guild_id):
                session.send(name, render(session.intents))

    def _forget_old_sessions(self) -> None:
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if session.connection is None and now - session.lost_at > RESUMABLE_FOR:
                del self.sessions[session.id]

    # -- faults -----------------------------------------------------------------------------

    def drop(self) -> None:
        """Cut every connection without a word, as a lost network does."""
        for connection in list(self.connections):
            connection.cut()

    def reconnect(self) -> None:
        for connection in list(self.connections):
            connection.send(RECONNECT)

    def invalidate(self, *, resumable: bool) -> None:
        for connection in list(self.connections):
            if not resumable and connection.session is not None:
                self.sessions.pop(connection.session.id, None)
            connection.send(INVALID_SESSION, resumable)

    def close_all(self) -> None:
        for connection in list(self.connections):
            connection.close(1001, "going away")

    # -- one connection ---------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, autoping=True, max_msg_size=1 << 20)
        await socket.prepare(request)
        compress = request.query.get("compress") == "zlib-stream"
        connection = Connection(socket, request.transport, compress=compress)
        self.connections.add(connection)
        self.zombie = False
        tasks = [
            asyncio.create_task(connection.write_all()),
            asyncio.create_task(self._expect_heartbeats(connection)),
        ]
        try:
            if request.query.get("v", "10") != "10":
                raise Closed(BAD_VERSION, "Invalid API version.")
            connection.send(HELLO, {"heartbeat_interval": int(self.heartbeat_interval * 1000)})
            await self._read(connection)
        except Closed as closed:
            connection.close(closed.code, closed.reason)
            await asyncio.wait([tasks[0]], timeout=5)
        finally:
            self._lost(connection)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            self._receive(connection, message.data)

    def _receive(self, connection: Connection, text: str | bytes) -> None:
        payload = decode(text)
        self._count(connection)
        opcode, data = payload.get("op"), payload.get("d")
        if opcode == HEARTBEAT:
            connection.heartbeat_at = time.monotonic()
            if not self.zombie:
                asyncio.get_running_loop().call_later(ACK_DELAY, connection.send, ACK)
        elif opcode == IDENTIFY:
            self._identify(connection, data)
        elif opcode == RESUME:
            self._resume(connection, data)
        elif opcode in (PRESENCE, VOICE_STATE, REQUEST_MEMBERS):
            if connection.session is None:
                raise Closed(NOT_AUTHENTICATED, "Not authenticated.")
            if opcode == REQUEST_MEMBERS:
                self._send_members(connection.session, data)
        else:
            raise Closed(UNKNOWN_OPCODE, "Unknown opcode.")

    def _count(self, connection: Connection) -> None:
        now = time.monotonic()
        connection.sends.append(now)
        while connection.sends[0] < now - 60:
            connection.sends.popleft()
        if len(connection.sends) > SENDS_PER_MINUTE:
            raise Closed(TOO_FAST, "Rate limited.")

    def _identify(self, connection: Connection, data: Any) -> None:
        if connection.session is not None:
            raise Closed(ALREADY_AUTHENTICATED, "Already authenticated.")
        if not isinstance(data, dict) or "properties" not in data:
            raise Closed(DECODE_ERROR, "Error while decoding payload.")
        if not self.check_token(str(data.get("token"))):
            raise Closed(BAD_TOKEN, "Authentication failed.")
        intents = data.get("intents")
        if not isinstance(intents, int) or not 0 <= intents < HIGHEST << 1:
            raise Closed(BAD_INTENTS, "Invalid intent(s).")
        if disallowed(intents, self.world.application.flags):
            raise Closed(DISALLOWED_INTENTS, "Disallowed intent(s).")
        session = Session(intents, read_shard(data.get("shard")))
        self.sessions[session.id] = session
        self._attach(connection, session)
        self._send_ready(session)

    def _send_ready(self, session: Session) -> None:
        guilds = [
            guild
            for guild in self.world.guilds.values()
            if self.world.bot.id in guild.members and session.wants(Intent(0), guild.id)
        ]
        application = self.world.application
        session.send(
            "READY",
            {
                "v": 10,
                "user": self.objects.own_user(),
                "guilds": [{"id": guild.id, "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.url,
                "shard": list(session.shard),
                "application": {"id": application.id, "flags": application.flags},
                "user_settings": {},
                "relationships": [],
                "private_channels": [],
                "presences": [],
                "guild_join_requests": [],
                "geo_ordered_rtc_regions": [],
                "auth": {},
            },
        )
        if Intent.GUILDS in session.intents:
            everyone = Intent.GUILD_MEMBERS in session.intents
            for guild in guilds:
                session.send("GUILD_CREATE", self.objects.guild_create(guild, everyone=everyone))

    def _resume(self, connection: Connection, data: Any) -> None:
        if connection.session is not None:
            raise Closed(ALREADY_AUTHENTICATED, "Already authenticated.")
        if not isinstance(data, dict) or not self.check_token(str(data.get("token"))):
            raise Closed(BAD_TOKEN, "Authentication failed.")
        self._forget_old_sessions()
        session = self.sessions.get(str(data.get("session_id")))
        sequence = data.get("seq")
        if session is None or not isinstance(sequence, int) or sequence > session.sequence:
            if session is not None and isinstance(sequence, int):
                raise Closed(BAD_SEQUENCE, "Invalid seq.")
            connection.send(INVALID_SESSION, False)
            return
        if not session.can_replay(sequence):
            del self.sessions[session.id]
            connection.send(INVALID_SESSION, False)
            return
        for number, text in list(session.events):
            if number > sequence:
                connection.write(text)
        self._attach(connection, session)
        session.send("RESUMED", {"_trace": []})

    def _attach(self, connection: Connection, session: Session) -> None:
        was_online = self.online
        if session.connection is not None:
            session.connection.session = None
            session.connection.close(4000, "resumed elsewhere")
        connection.session, session.connection = session, connection
        if not was_online:
            self.events.to_everyone("APPLICATION_STATUS", {"online": True})

    def _lost(self, connection: Connection) -> None:
        """The session waits for RESUME, unless the client said goodbye (1000 or 1001)."""
        self.connections.discard(connection)
        session, connection.session = connection.session, None
        if session is None or session.connection is not connection:
            return
        session.connection, session.lost_at = None, time.monotonic()
        if connection.socket.close_code in (1000, 1001):
            self.sessions.pop(session.id, None)
        if not self.online:
            self.events.to_everyone("APPLICATION_STATUS", {"online": False})

    async def _expect_heartbeats(self, connection: Connection) -> None:
        patience = self.heartbeat_interval * 1.5
        while True:
            left = connection.heartbeat_at + patience - time.monotonic()
            if left <= 0:
                connection.close(TIMED_OUT, "Session timed out.")
                return
            await asyncio.sleep(left)

    def _send_members(self, session: Session, data: Any) -> None:
        """REQUEST_GUILD_MEMBERS: by name prefix or by ids, in one chunk."""
        try:
            guild = self.world.guild(str(data["guild_id"]))
        except (KeyError, TypeError, DiscordError):
            return
        members = list(guild.members.values())
        wanted = data.get("user_ids")
        if wanted is not None:
            ids = [str(i) for i in (wanted if isinstance(wanted, list) else [wanted])]
            members = [guild.members[i] for i in ids if i in guild.members]
        elif query := str(data.get("query") or ""):
            users = self.world.users
            members = [m for m in members if users[m.user_id].name.startswith(query.lower())]
        elif Intent.GUILD_MEMBERS not in session.intents:
            members = []
        if limit := int(data.get("limit") or 0):
            members = members[:limit]
        chunk: Json = {
            "guild_id": guild.id,
            "members": [self.objects.member(m) for m in members],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [],
        }
        if data.get("presences"):
            chunk["presences"] = []
        if "nonce" in data:
            chunk["nonce"] = data["nonce"]
        session.send("GUILD_MEMBERS_CHUNK", chunk)


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
