"""Registering application commands, global and a server's own."""

from __future__ import annotations

from aiohttp import web

from playground.commands import Commands
from playground.errors import MissingAccess, UnknownApplication
from playground.objects import Objects
from playground.snowflake import Snowflake
from playground.world import Command, World

from .api import body_of, no_content

GLOBAL = "/api/v10/applications/{application}/commands"
GUILD = "/api/v10/applications/{application}/guilds/{guild}/commands"


class RegisteredCommands:
    def __init__(self, world: World, objects: Objects, commands: Commands) -> None:
        self.world = world
        self.objects = objects
        self.commands = commands

    def routes(self) -> list[web.RouteDef]:
        routes = [web.get(f"{GUILD}/permissions", self.permissions)]
        for place in (GLOBAL, GUILD):
            routes += [
                web.get(place, self.list),
                web.put(place, self.overwrite),
                web.post(place, self.create),
                web.get(f"{place}/{{command}}", self.get),
                web.patch(f"{place}/{{command}}", self.edit),
                web.delete(f"{place}/{{command}}", self.delete),
            ]
        return routes

    def _place(self, request: web.Request) -> Snowflake | None:
        """The guild of the path, or None for global commands."""
        if request.match_info["application"] != self.world.application.id:
            raise UnknownApplication
        guild_id = request.match_info.get("guild")
        if guild_id is not None:
            guild = self.world.guilds.get(guild_id)
            if guild is None or self.world.bot.id not in guild.members:
                raise MissingAccess
        return guild_id

    def _command(self, request: web.Request) -> Command:
        return self.commands.get(self._place(request), request.match_info["command"])

    async def list(self, request: web.Request) -> web.Response:
        found = self.commands.registered(self._place(request))
        return web.json_response([self.objects.command(c) for c in found])

    async def overwrite(self, request: web.Request) -> web.Response:
        place = self._place(request)
        made = self.commands.overwrite(place, body_of(request).json)
        return web.json_response([self.objects.command(c) for c in made])

    async def create(self, request: web.Request) -> web.Response:
        command, new = self.commands.upsert(self._place(request), body_of(request).object)
        return web.json_response(self.objects.command(command), status=201 if new else 200)

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self.objects.command(self._command(request)))

    async def edit(self, request: web.Request) -> web.Response:
        command = self.commands.edit(self._command(request), body_of(request).object)
        return web.json_response(self.objects.command(command))

    async def delete(self, request: web.Request) -> web.Response:
        self.commands.delete(self._command(request))
        return no_content()

    async def permissions(self, request: web.Request) -> web.Response:
        self._place(request)
        return web.json_response([])
