"""People begin threads and posts, open and close them, come and go."""

from __future__ import annotations

from aiohttp import web

from playground.errors import UnknownChannel
from playground.objects import Objects
from playground.threads import Threads
from playground.world import PRIVATE_THREAD, PUBLIC_THREAD, Channel, Json, User, World

from .params import read_object, the_channel, the_user

CHANNEL = "/control/channels/{channel}"
MEMBER = f"{CHANNEL}/members/{{member}}"


class ThreadActs:
    def __init__(self, world: World, objects: Objects, threads: Threads) -> None:
        self.world = world
        self.objects = objects
        self.threads = threads

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{CHANNEL}/threads", self.create),
            web.patch(f"{CHANNEL}/thread", self.change),
            web.delete(f"{CHANNEL}/thread", self.delete),
            web.put(MEMBER, self.add),
            web.delete(MEMBER, self.remove),
        ]

    def _place(self, request: web.Request, user: User) -> Channel:
        return the_channel(self.world, self.objects, request.match_info["channel"], user)

    async def create(self, request: web.Request) -> web.Response:
        """`message`: begins with that one; `content` (and files): a forum's post."""
        given, body = await read_object(request)
        user = the_user(self.world, given.get("user"))
        parent = self._place(request, user)
        wanted: Json = {"name": given.get("name"), "applied_tags": given.get("tags")}
        if given.get("message"):
            message = self.world.message(parent.id, str(given["message"]))
            channel = self.threads.create_from(parent, message, user.id, wanted)
        else:
            wanted["type"] = PRIVATE_THREAD if given.get("private") else PUBLIC_THREAD
            wanted["message"] = {"content": given.get("content") or ""}
            channel, _ = self.threads.create(parent, user.id, wanted, body.files)
        return web.json_response(self.objects.channel(channel, user.id))

    def _thread(self, request: web.Request, user: User) -> Channel:
        channel = self._place(request, user)
        if channel.thread is None:
            raise UnknownChannel
        return channel

    async def change(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        user = the_user(self.world, given.pop("user", None))
        channel = self._thread(request, user)
        self.threads.rules.change(channel, user.id, given)
        return web.json_response(self.objects.channel(channel, user.id))

    async def delete(self, request: web.Request) -> web.Response:
        user = the_user(self.world, request.query.get("user"))
        self.threads.delete(self._thread(request, user))
        return web.json_response({})

    async def add(self, request: web.Request) -> web.Response:
        """Lets someone (the bot, too) in; oneself: joins."""
        user = the_user(self.world, request.query.get("user"))
        channel, member = self._thread(request, user), self._member(request)
        if member == user.id:
            self.threads.rules.join(channel, member)
        else:
            self.threads.rules.add(channel, user.id, member)
        return web.json_response({})

    async def remove(self, request: web.Request) -> web.Response:
        user = the_user(self.world, request.query.get("user"))
        channel, member = self._thread(request, user), self._member(request)
        if member == user.id:
            self.threads.rules.leave(channel, member)
        else:
            self.threads.rules.remove(channel, user.id, member)
        return web.json_response({})

    def _member(self, request: web.Request) -> str:
        return self.world.user(request.match_info["member"]).id
