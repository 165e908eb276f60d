"""People use commands, components and modals."""

from __future__ import annotations

from aiohttp import web

from playground.errors import Refused
from playground.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Interactions
from playground.world import World

from .params import read_object, the_user


class Acts:
    def __init__(self, world: World, interactions: Interactions) -> None:
        self.world = world
        self.interactions = interactions

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/control/interactions", self.act)]

    async def act(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        user = the_user(self.world, given.get("user"))
        kind, nonce = given.get("type"), given.get("nonce")
        if kind == MODAL:
            interaction = self.interactions.submit_modal(user, given, nonce)
        else:
            channel = self.world.channel(str(given.get("channel")))
            if kind == COMMAND:
                interaction = self.interactions.use_command(user, channel, given, nonce)
            elif kind == COMPONENT:
                interaction = self.interactions.use_component(user, channel, given, nonce)
            elif kind == AUTOCOMPLETE:
                interaction = self.interactions.autocomplete(user, channel, given, nonce)
            else:
                raise Refused(message="`type` must be 2, 3, 4 or 5.")
        return web.json_response({"id": interaction.id, "token": interaction.token})
