"""The gateway: Discord's WebSocket, version 10, JSON, with `zlib-stream` when asked for.

Other compression (`zstd-stream`) is not done: the payloads go as text, which clients take as well.

`gateway_session` holds what one client is: a `Session` and its `Connection`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from .errors import DiscordError
from .events import Events
from .fault_answers import strike
from .faults import Faults
from .gateway_session import (
    ACK,
    ALREADY_AUTHENTICATED,
    BAD_INTENTS,
    BAD_SEQUENCE,
    BAD_TOKEN,
    BAD_VERSION,
    DECODE_ERROR,
    DISALLOWED_INTENTS,
    ENDS_SESSION,
    HEARTBEAT,
    HELLO,
    IDENTIFY,
    INVALID_SESSION,
    NOT_AUTHENTICATED,
    PRESENCE,
    RECONNECT,
    REQUEST_MEMBERS,
    RESUMABLE_FOR,
    RESUME,
    TIMED_OUT,
    TOO_FAST,
    UNKNOWN_OPCODE,
    VOICE_STATE,
    Closed,
    Connection,
    Session,
    decode,
    read_shard,
)
from .intents import HIGHEST, Intent, disallowed
from .objects import Objects
from .snowflake import Snowflake
from .world import Json, World

ACK_DELAY = 0.05
"""Seconds before a heartbeat is acknowledged: a client that notes the time of sending only after
it has sent would else take the answer for one to the heartbeat before."""

SENDS_PER_MINUTE = 120


@dataclass(frozen=True)
class Event:
    """What was dispatched, to be dispatched again."""

    name: str
    render: Callable[[Intent], Json]
    intent: Intent
    guild_id: Snowflake | None


class Gateway:
    def __init__(
        self,
        world: World,
        objects: Objects,
        events: Events,
        faults: Faults,
        *,
        check_token: Callable[[str], bool],
        heartbeat_interval: float = 41.25,
    ) -> None:
        self.world = world
        self.objects = objects
        self.events = events
        self.faults = faults
        self.check_token = check_token
        self.heartbeat_interval = heartbeat_interval
        self.url = ""
        self.zombie = False
        """Heartbeats are no longer acknowledged (until the next connection)."""
        self.refused_identifies: deque[int] = deque()
        """Close codes that the next identifies get instead of READY."""
        self.doubled: Counter[str] = Counter()
        """How many more events of a name are delivered twice."""
        self._last: dict[str, Event] = {}
        self.sessions: dict[str, Session] = {}
        self.activity = ""
        """What the client shows of itself in the list of members."""
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
        self._last[name] = event = Event(name, render, intent, guild_id)
        self._send(event)
        if self.doubled[name]:
            self.doubled[name] -= 1
            self._send(event)

    def _send(self, event: Event) -> None:
        for session in self.sessions.values():
            if session.wants(event.intent, event.guild_id):
                session.send(event.name, event.render(session.intents))

    def _forget_old_sessions(self) -> None:
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if session.connection is None and now - session.lost_at > RESUMABLE_FOR:
                del self.sessions[session.id]

    # -- faults -----------------------------------------------------------------------------

    def forget_faults(self) -> None:
        self.zombie = False
        self.refused_identifies.clear()
        self.doubled.clear()

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

    def close_all(self, code: int = 1001, reason: str = "going away") -> None:
        """Close every connection; with 4004 and the like its session is gone, as at Discord."""
        for connection in list(self.connections):
            if code in ENDS_SESSION and connection.session is not None:
                self.sessions.pop(connection.session.id, None)
            connection.close(code, reason)

    def repeat(self, name: str) -> bool:
        """Deliver the last event of that name once more; False when there was none."""
        if event := self._last.get(name):
            self._send(event)
        return event is not None

    # -- one connection ---------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if fault := self.faults.next_of_socket():
            return await strike(request, fault)
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
            elif opcode == PRESENCE:
                self._show(data)
        else:
            raise Closed(UNKNOWN_OPCODE, "Unknown opcode.")

    def _show(self, data: Any) -> None:
        """A client says what it does: the first activity is shown, a custom one by its state."""
        activities = data.get("activities") if isinstance(data, dict) else None
        first = activities[0] if isinstance(activities, list) and activities else {}
        if not isinstance(first, dict):
            raise Closed(DECODE_ERROR, "An activity is an object.")
        self.activity = str(first.get("state") or first.get("name") or "")[:128]
        online = {"online": self.online, "activity": self.activity}
        self.events.to_everyone("APPLICATION_STATUS", online)

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
        if self.refused_identifies:
            raise Closed(self.refused_identifies.popleft(), "A fault")
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
            self.events.to_everyone(
                "APPLICATION_STATUS", {"online": True, "activity": self.activity}
            )

    def _lost(self, connection: Connection) -> None:
        """The session waits for RESUME, unless the client said goodbye (1000 or 1001)."""
        self.connections.discard(connection)
        session, connection.session = connection.session, None
        if session is None or session.connection is not connection:
            return
        session.connection, session.lost_at = None, time.monotonic()
        if not connection.closed_here and connection.socket.close_code in (1000, 1001):
            self.sessions.pop(session.id, None)
        if not self.online:
            self.activity = ""
            self.events.to_everyone("APPLICATION_STATUS", {"online": False, "activity": ""})

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
