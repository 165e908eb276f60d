"""Answering interactions: the callback, and the token as a webhook."""

from __future__ import annotations

from aiohttp import web

from playground.interactions import Interactions
from playground.messages import Messages
from playground.objects import Objects
from playground.responses import Responses
from playground.world import Interaction, Message, World

from .api import body_of, no_content

CALLBACK = "/api/v10/interactions/{interaction}/{token}/callback"
WEBHOOK = "/api/v10/webhooks/{application}/{token}"
MESSAGE = f"{WEBHOOK}/messages/{{message}}"
YES = ("1", "true", "True")


class InteractionAnswers:
    def __init__(
        self,
        world: World,
        objects: Objects,
        interactions: Interactions,
        responses: Responses,
        messages: Messages,
    ) -> None:
        self.world = world
        self.objects = objects
        self.interactions = interactions
        self.responses = responses
        self.messages = messages

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(CALLBACK, self.callback),
            web.post(WEBHOOK, self.follow_up),
            web.get(MESSAGE, self.get),
            web.patch(MESSAGE, self.edit),
            web.delete(MESSAGE, self.delete),
        ]

    def _answer(self, message: Message) -> web.Response:
        return web.json_response(self.objects.message(message, self.world.bot.id))

    async def callback(self, request: web.Request) -> web.Response:
        body, found = body_of(request), request.match_info
        interaction, message = self.responses.callback(
            found["interaction"], found["token"], body.object, body.files
        )
        if request.query.get("with_response") not in YES:
            return no_content()
        return web.json_response(self.responses.callback_object(interaction, message))

    def _interaction(self, request: web.Request) -> Interaction:
        found = request.match_info
        return self.interactions.by_webhook(found["application"], found["token"])

    async def follow_up(self, request: web.Request) -> web.Response:
        interaction, body = self._interaction(request), body_of(request)
        return self._answer(self.responses.follow_up(interaction, body.object, body.files))

    def _message(self, request: web.Request) -> Message:
        return self.responses.find(self._interaction(request), request.match_info["message"])

    async def get(self, request: web.Request) -> web.Response:
        return self._answer(self._message(request))

    async def edit(self, request: web.Request) -> web.Response:
        message, body = self._message(request), body_of(request)
        self.responses.check_files(self._interaction(request), body.files)
        self.messages.edit(message, body.object, body.files)
        return self._answer(message)

    async def delete(self, request: web.Request) -> web.Response:
        message = self._message(request)
        self.messages.delete(self.world.channel(message.channel_id), [message])
        return no_content()
