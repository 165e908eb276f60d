"""People read, write and react; their pages listen to what happens."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from playground import uploads
from playground.commands import Commands
from playground.errors import CannotSendToUser, Refused
from playground.events import Events
from playground.gateway import Gateway
from playground.messages import Draft, Messages
from playground.objects import Objects, upload_limit
from playground.permissions import Permission
from playground.reactions import Reactions
from playground.rest.query import whole
from playground.world import Channel, Guild, Json, Message, User, World

from .params import dumps, read_object, the_channel, the_user

CHANNEL = "/control/channels/{channel}"
MESSAGES = f"{CHANNEL}/messages"
MESSAGE = f"{MESSAGES}/{{message}}"
REACTION = f"{MESSAGE}/reactions/{{emoji}}"


class Chat:
    def __init__(
        self,
        world: World,
        objects: Objects,
        events: Events,
        messages: Messages,
        reactions: Reactions,
        commands: Commands,
        gateway: Gateway,
    ) -> None:
        self.world = world
        self.objects = objects
        self.events = events
        self.messages = messages
        self.reactions = reactions
        self.commands = commands
        self.gateway = gateway

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/state", self.state),
            web.get("/control/events", self.listen),
            web.post("/control/dms", self.open_direct),
            web.post("/control/attachments", self.upload),
            web.get(MESSAGES, self.history),
            web.post(MESSAGES, self.write),
            web.delete(MESSAGE, self.delete),
            web.put(REACTION, self.react),
            web.delete(REACTION, self.unreact),
        ]

    def _user(self, request: web.Request) -> User:
        return the_user(self.world, request.query.get("user"))

    # -- what there is ----------------------------------------------------------------------

    async def state(self, request: web.Request) -> web.Response:
        world, objects = self.world, self.objects
        first = next((u.id for u in world.users.values() if not u.bot), None)
        user = the_user(world, request.query.get("user") or first)
        direct = [c for c in world.channels.values() if user.id in (c.recipient_id, *c.people)]
        application = objects.application() | {
            "online": self.gateway.online,
            "activity": self.gateway.activity,
            "installed": user.has_app,
        }
        commands = self.commands.usable_by(user.id)
        return web.json_response(
            {
                "me": objects.user(user) | {"locale": user.locale},
                "users": [objects.user(u) for u in world.users.values()],
                "application": application,
                "guilds": [
                    self._guild(g, user) for g in world.guilds.values() if user.id in g.members
                ],
                "dms": [objects.channel(c, user.id) for c in direct],
                "commands": [objects.command(c) for c in commands],
            }
        )

    def _guild(self, guild: Guild, user: User) -> Json:
        seen = [
            self.objects.partial_channel(channel, user.id)
            for channel in self.world.channels_of(guild)
            if Permission.VIEW_CHANNEL in self.objects.permissions(channel, user.id)
        ]
        members = [self.objects.member(m) for m in guild.members.values()]
        return self.objects.guild(guild) | {
            "channels": seen,
            "threads": [
                self.objects.partial_channel(thread, user.id) | self._membership(thread, user)
                for thread in self.objects.seen_threads(guild, user.id)
            ],
            "members": members,
            "attachment_size_limit": upload_limit(guild),
        }

    def _membership(self, thread: Channel, user: User) -> Json:
        """Who is in the thread, and whether the person is."""
        assert thread.thread is not None
        return {"members": list(thread.thread.members), "joined": user.id in thread.thread.members}

    async def history(self, request: web.Request) -> web.Response:
        user = self._user(request)
        needed = Permission.READ_MESSAGE_HISTORY
        channel = the_channel(self.world, self.objects, request.match_info["channel"], user, needed)
        found = self.messages.history(channel, user.id)
        newest = whole(request, "before", 2**63 - 1)
        found = [m for m in found if int(m.id) < newest]
        limit = whole(request, "limit", 50, low=1, high=10_000)
        return web.json_response([self.objects.message(m, user.id) for m in found[-limit:]])

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """Every event that the person's own client would get, until the page goes."""
        user = self._user(request)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self.events.listen(user.id, queue.put_nowait)
        writer = asyncio.create_task(self._write(socket, queue))
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self.events.forget(queue.put_nowait)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    async def _write(self, socket: web.WebSocketResponse, queue: asyncio.Queue[Json]) -> None:
        while True:
            await socket.send_str(dumps(await queue.get()))

    # -- writing ----------------------------------------------------------------------------

    async def write(self, request: web.Request) -> web.Response:
        given, body = await read_object(request)
        user = the_user(self.world, given.get("user"))
        needed = Permission.ATTACH_FILES if body.files else Permission.VIEW_CHANNEL
        channel_id = request.match_info["channel"]
        channel = the_channel(self.world, self.objects, channel_id, user, needed)
        the_channel(self.world, self.objects, channel_id, user, self.objects.sending(channel))
        if channel.recipient_id is not None and not self.world.meets_bot(user.id):
            raise CannotSendToUser
        message_body: Json = {"content": given.get("content") or ""}
        for key in ("attachments", "nonce"):
            if key in given:
                message_body[key] = given[key]
        if reply_to := given.get("reply_to"):
            message_body["message_reference"] = {"message_id": reply_to}
        message = self.messages.create(Draft(channel, user.id, message_body, body.files))
        return web.json_response(self.objects.message(message, user.id))

    async def delete(self, request: web.Request) -> web.Response:
        """Their own, one that only they see, or with MANAGE_MESSAGES anyone's."""
        user = self._user(request)
        channel, message = self._message(request, user)
        if user.id not in (message.author_id, message.ephemeral_to):
            the_channel(self.world, self.objects, channel.id, user, Permission.MANAGE_MESSAGES)
        self.messages.delete(channel, [message])
        return web.json_response({})

    async def open_direct(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        user = the_user(self.world, given.get("user"))
        known = set(self.world.channels)
        if given.get("with"):
            other = the_user(self.world, given["with"])
            if other.id == user.id:
                raise Refused(message="Nobody writes to themself here.")
            channel = self.world.private_channel(user.id, other.id)
        else:
            channel = self.world.direct_channel(user.id)
        if channel.id not in known:
            self.events.channel_event("CHANNEL_CREATE", channel)
        return web.json_response(self.objects.channel(channel, user.id))

    async def upload(self, request: web.Request) -> web.Response:
        """A file for an option or a modal: kept apart from messages."""
        given, body = await read_object(request)
        if len(body.files) != 1:
            raise Refused(message="Send exactly one file.")
        channel_id = str(given.get("channel") or self.world.bot.id)
        channel = self.world.channels.get(channel_id)
        guild = None if channel is None else self.world.guild_of(channel)
        best = max(
            [upload_limit(g) for g in self.world.guilds.values()], default=upload_limit(None)
        )
        uploads.check_sizes(body.files, upload_limit(guild) if channel is not None else best)
        attachment = uploads.keep(self.world, body.files[0], channel_id, ephemeral=True)
        self.world.save(attachment)
        return web.json_response(self.objects.attachment(attachment))

    # -- reacting ---------------------------------------------------------------------------

    def _message(self, request: web.Request, user: User) -> tuple[Channel, Message]:
        channel = the_channel(self.world, self.objects, request.match_info["channel"], user)
        message = self.messages.visible(channel, request.match_info["message"], user.id)
        return channel, message

    async def react(self, request: web.Request) -> web.Response:
        user = self._user(request)
        channel, message = self._message(request, user)
        if message.ephemeral:
            raise Refused(message="Nobody can react to a message that only one person sees.")
        self.reactions.add(channel, message, user.id, request.match_info["emoji"])
        return web.json_response({})

    async def unreact(self, request: web.Request) -> web.Response:
        user = self._user(request)
        channel, message = self._message(request, user)
        self.reactions.remove(channel, message, user.id, request.match_info["emoji"])
        return web.json_response({})
