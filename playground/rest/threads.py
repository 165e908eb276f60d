"""Threads: the bot makes them, joins and leaves them, lists them."""

from __future__ import annotations

from aiohttp import web

from playground.errors import MissingAccess, UnknownMember, UnknownMessage
from playground.objects import Objects
from playground.permissions import Permission
from playground.snowflake import Snowflake
from playground.threads import Threads
from playground.world import PRIVATE_THREAD, PUBLIC_THREAD, Channel, Json, World

from .api import body_of, no_content
from .channels import PREFIX, Access
from .query import whole

MEMBERS = f"{PREFIX}/thread-members"
ARCHIVED = f"{PREFIX}/threads/archived"


class ThreadRoutes:
    def __init__(self, world: World, access: Access, objects: Objects, threads: Threads) -> None:
        self.world = world
        self.access = access
        self.objects = objects
        self.threads = threads

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{PREFIX}/threads", self.create),
            web.post(f"{PREFIX}/messages/{{message}}/threads", self.create_from),
            web.get(MEMBERS, self.members),
            web.get(f"{MEMBERS}/{{user}}", self.member),
            web.put(f"{MEMBERS}/{{user}}", self.add),
            web.delete(f"{MEMBERS}/{{user}}", self.remove),
            web.get("/api/v10/guilds/{guild}/threads/active", self.active),
            web.get(f"{ARCHIVED}/public", self.archived_public),
            web.get(f"{ARCHIVED}/private", self.archived_private),
            web.get(f"{PREFIX}/users/@me/threads/archived/private", self.archived_own),
        ]

    @property
    def _me(self) -> Snowflake:
        return self.world.bot.id

    async def create(self, request: web.Request) -> web.Response:
        body = body_of(request)
        parent = self.access.channel(request)
        channel, message = self.threads.create(parent, self._me, body.object, body.files)
        rendered = self.objects.channel(channel)
        if message is not None:
            rendered["message"] = self.objects.message(message, self._me)
        return web.json_response(rendered, status=201)

    async def create_from(self, request: web.Request) -> web.Response:
        parent = self.access.channel(request)
        message = self.world.message(parent.id, request.match_info["message"])
        if message.ephemeral:
            raise UnknownMessage
        channel = self.threads.create_from(parent, message, self._me, body_of(request).object)
        return web.json_response(self.objects.channel(channel), status=201)

    # -- members ----------------------------------------------------------------------------

    def _user(self, request: web.Request) -> Snowflake:
        user = request.match_info["user"]
        return self._me if user == "@me" else user

    async def members(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        found = [] if channel.thread is None else list(channel.thread.members)
        return web.json_response([self.objects.thread_member(channel, user) for user in found])

    async def member(self, request: web.Request) -> web.Response:
        channel, user = self.access.channel(request), self._user(request)
        if channel.thread is None or user not in channel.thread.members:
            raise UnknownMember
        return web.json_response(self.objects.thread_member(channel, user))

    async def add(self, request: web.Request) -> web.Response:
        channel, user = self.access.channel(request), self._user(request)
        if user == self._me:
            self.threads.rules.join(channel, user)
        else:
            self.threads.rules.add(channel, self._me, user)
        return no_content()

    async def remove(self, request: web.Request) -> web.Response:
        channel, user = self.access.channel(request), self._user(request)
        if user == self._me:
            self.threads.rules.leave(channel, user)
        else:
            self.threads.rules.remove(channel, self._me, user)
        return no_content()

    # -- lists ------------------------------------------------------------------------------

    async def active(self, request: web.Request) -> web.Response:
        guild = self.world.guild(request.match_info["guild"])
        if self._me not in guild.members:
            raise MissingAccess
        return web.json_response(self._list(self.objects.seen_threads(guild, self._me), more=False))

    async def archived_public(self, request: web.Request) -> web.Response:
        return self._archived(request, PUBLIC_THREAD)

    async def archived_private(self, request: web.Request) -> web.Response:
        return self._archived(request, PRIVATE_THREAD, Permission.MANAGE_THREADS)

    async def archived_own(self, request: web.Request) -> web.Response:
        return self._archived(request, PRIVATE_THREAD)

    def _archived(
        self, request: web.Request, kind: int, needed: Permission = Permission.VIEW_CHANNEL
    ) -> web.Response:
        parent = self.access.channel(request, needed | Permission.READ_MESSAGE_HISTORY)
        found = [
            channel
            for channel in self.world.channels.values()
            if channel.parent_id == parent.id and channel.type == kind and self._is_shut(channel)
        ]
        found.sort(key=lambda c: int(c.id), reverse=True)
        limit = whole(request, "limit", 50, low=1, high=100)
        return web.json_response(self._list(found[:limit], more=len(found) > limit))

    def _is_shut(self, channel: Channel) -> bool:
        sees = Permission.VIEW_CHANNEL in self.access.permissions(channel)
        return sees and channel.thread is not None and channel.thread.archived

    def _list(self, channels: list[Channel], *, more: bool) -> Json:
        own = [c for c in channels if c.thread is not None and self._me in c.thread.members]
        return {
            "threads": [self.objects.channel(c) for c in channels],
            "members": [self.objects.thread_member(c, self._me) for c in own],
            "has_more": more,
        }
