"""People use commands, components and modals."""

from __future__ import annotations

from aiohttp import web

from playground.errors import Refused
from playground.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Interactions
from playground.reactions import Reactions
from playground.world import Interaction, Json, World

from .params import objects, read_object, the_channel, the_user


class Acts:
    def __init__(self, world: World, interactions: Interactions, reactions: Reactions) -> None:
        self.world = world
        self.reactions = reactions
        self.interactions = interactions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/interactions", self.act),
            web.post("/control/bursts", self.burst),
        ]

    async def burst(self, request: web.Request) -> web.Response:
        """Everything in one instant: `{"interactions": [act…], "reactions": [{"user", "channel",
        "message", "emoji"}…]}`; returns what `POST /control/interactions` does, one for each.
        """
        given, _ = await read_object(request)
        for reaction in objects(given.get("reactions"), "reactions"):
            user = the_user(self.world, reaction.get("user"))
            place, message_id = str(reaction.get("channel")), str(reaction.get("message"))
            channel = the_channel(self.world, self.reactions.objects, place, user)
            message = self.world.message(channel.id, message_id)
            self.reactions.add(channel, message, user.id, str(reaction.get("emoji")))
        begun = [self._begin(act) for act in objects(given.get("interactions"), "interactions")]
        return web.json_response([{"id": i.id, "token": i.token} for i in begun])

    async def act(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        interaction = self._begin(given)
        return web.json_response({"id": interaction.id, "token": interaction.token})

    def _begin(self, given: Json) -> Interaction:
        user = the_user(self.world, given.get("user"))
        kind, nonce = given.get("type"), given.get("nonce")
        if kind == MODAL:
            return self.interactions.submit_modal(user, given, nonce)
        channel = self.world.channel(str(given.get("channel")))
        if kind == COMMAND:
            return self.interactions.use_command(user, channel, given, nonce)
        if kind == COMPONENT:
            return self.interactions.use_component(user, channel, given, nonce)
        if kind == AUTOCOMPLETE:
            return self.interactions.autocomplete(user, channel, given, nonce)
        raise Refused(message="`type` must be 2, 3, 4 or 5.")
