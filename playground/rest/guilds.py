"""Guilds, their channels, roles and members."""

from __future__ import annotations

from aiohttp import web

from playground.errors import MissingAccess, MissingPermissions
from playground.events import Events
from playground.objects import Objects
from playground.permissions import Permission, in_guild
from playground.world import Guild, World

from .api import body_of, no_content
from .query import whole

PREFIX = "/api/v10/guilds/{guild}"


class Guilds:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX, self.get),
            web.get(f"{PREFIX}/channels", self.channels),
            web.get(f"{PREFIX}/roles", self.roles),
            web.get(f"{PREFIX}/members", self.members),
            web.get(f"{PREFIX}/members/search", self.search),
            web.patch(f"{PREFIX}/members/@me", self.change_me),
            web.get(f"{PREFIX}/members/{{user}}", self.member),
            web.put(f"{PREFIX}/members/{{user}}/roles/{{role}}", self.add_role),
            web.delete(f"{PREFIX}/members/{{user}}/roles/{{role}}", self.remove_role),
            web.get(f"{PREFIX}/emojis", self.nothing),
            web.get(f"{PREFIX}/stickers", self.nothing),
            web.delete("/api/v10/users/@me/guilds/{guild}", self.leave),
        ]

    def _guild(self, request: web.Request) -> Guild:
        guild = self.world.guild(request.match_info["guild"])
        if self.world.bot.id not in guild.members:
            raise MissingAccess
        return guild

    async def get(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        rendered = self.objects.guild(guild)
        if request.query.get("with_counts", "").lower() in ("1", "true"):
            rendered["approximate_member_count"] = len(guild.members)
            rendered["approximate_presence_count"] = len(guild.members)
        return web.json_response(rendered)

    async def channels(self, request: web.Request) -> web.Response:
        found = self.world.channels_of(self._guild(request))
        return web.json_response([self.objects.channel(c) for c in found])

    async def roles(self, request: web.Request) -> web.Response:
        roles = self._guild(request).roles.values()
        return web.json_response([self.objects.role(role) for role in roles])

    async def members(self, request: web.Request) -> web.Response:
        """Needs the members intent to be switched on for the application, as with Discord."""
        guild = self._guild(request)
        if not self.world.application.flags & (1 << 14 | 1 << 15):
            raise MissingAccess
        after, limit = whole(request, "after", 0), whole(request, "limit", 1, low=1, high=1000)
        found = sorted((m for m in guild.members if int(m) > after), key=int)[:limit]
        return web.json_response([self.objects.member(guild.members[i]) for i in found])

    async def search(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        query, limit = request.query.get("query", "").lower(), whole(request, "limit", 1, high=1000)
        users = self.world.users
        found = [m for m in guild.members.values() if users[m.user_id].name.startswith(query)]
        return web.json_response([self.objects.member(m) for m in found[:limit]])

    async def member(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        member = self.world.member(guild, request.match_info["user"])
        return web.json_response(self.objects.member(member))

    async def change_me(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        member = guild.members[self.world.bot.id]
        body = body_of(request).object
        if "nick" in body:
            member.nick = body["nick"]
            self.world.save(guild)
            self.events.member_event("GUILD_MEMBER_UPDATE", guild, member)
        return web.json_response(self.objects.member(member))

    async def add_role(self, request: web.Request) -> web.Response:
        return self._change_role(request, add=True)

    async def remove_role(self, request: web.Request) -> web.Response:
        return self._change_role(request, add=False)

    def _change_role(self, request: web.Request, *, add: bool) -> web.Response:
        guild = self._guild(request)
        member = self.world.member(guild, request.match_info["user"])
        role_id = request.match_info["role"]
        own = guild.members[self.world.bot.id]
        if Permission.MANAGE_ROLES not in in_guild(guild, own):
            raise MissingPermissions
        member.roles = [r for r in member.roles if r != role_id] + ([role_id] if add else [])
        self.world.save(guild)
        self.events.member_event("GUILD_MEMBER_UPDATE", guild, member)
        return no_content()

    async def leave(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        member = guild.members.pop(self.world.bot.id)
        self.world.save(guild)
        self.events.guild_left(guild, member)
        return no_content()

    async def nothing(self, request: web.Request) -> web.Response:
        self._guild(request)
        return web.json_response([])
