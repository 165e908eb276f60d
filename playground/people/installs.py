"""People install the app for themselves, and remove it."""

from __future__ import annotations

from aiohttp import web

from playground.errors import Refused
from playground.events import Events
from playground.objects import Objects
from playground.world import TO_USER, World

from .params import the_user


class Installs:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/control/installs/{user}", self.install),
            web.delete("/control/installs/{user}", self.install),
        ]

    async def install(self, request: web.Request) -> web.Response:
        user = the_user(self.world, request.match_info["user"])
        if TO_USER not in self.world.application.integration_types:
            raise Refused(message="This app can't be installed to a person.")
        user.has_app = request.method == "PUT"
        self.world.save(user)
        self.events.to_person(user.id, "COMMANDS_UPDATE", {})
        return web.json_response({"installed": user.has_app})
