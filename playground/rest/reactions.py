"""Reactions: the bot adds, removes, lists and clears them."""

from __future__ import annotations

from aiohttp import web

from playground.errors import UnknownMessage
from playground.objects import Objects
from playground.permissions import Permission, require
from playground.reactions import Reactions, check_emoji
from playground.world import Channel, Message, World

from .api import no_content
from .channels import Access
from .messages import MESSAGE
from .query import whole

ALL = f"{MESSAGE}/reactions"
ONE = f"{ALL}/{{emoji}}"


class MessageReactions:
    def __init__(
        self, world: World, access: Access, objects: Objects, reactions: Reactions
    ) -> None:
        self.world = world
        self.access = access
        self.objects = objects
        self.reactions = reactions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put(f"{ONE}/@me", self.add),
            web.delete(f"{ONE}/@me", self.remove_own),
            web.delete(f"{ONE}/{{user}}", self.remove),
            web.get(ONE, self.users),
            web.delete(ONE, self.clear_emoji),
            web.delete(ALL, self.clear),
        ]

    def _find(
        self, request: web.Request, needed: Permission = Permission.VIEW_CHANNEL
    ) -> tuple[Channel, Message]:
        channel = self.access.channel(request, needed)
        message = self.world.message(channel.id, request.match_info["message"])
        if message.ephemeral:
            raise UnknownMessage
        return channel, message

    async def add(self, request: web.Request) -> web.Response:
        channel, message = self._find(request)
        self.reactions.add(channel, message, self.world.bot.id, request.match_info["emoji"])
        return no_content()

    async def remove_own(self, request: web.Request) -> web.Response:
        channel, message = self._find(request)
        emoji = request.match_info["emoji"]
        self.reactions.remove(channel, message, self.world.bot.id, emoji)
        return no_content()

    async def remove(self, request: web.Request) -> web.Response:
        channel, message = self._find(request)
        user_id = request.match_info["user"]
        if user_id != self.world.bot.id:
            require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        self.reactions.remove(channel, message, user_id, request.match_info["emoji"])
        return no_content()

    async def users(self, request: web.Request) -> web.Response:
        _, message = self._find(request, Permission.READ_MESSAGE_HISTORY)
        emoji = request.match_info["emoji"]
        reaction = self.reactions.find(message, emoji)
        if reaction is None:
            check_emoji(emoji)
            return web.json_response([])
        after, limit = whole(request, "after", 0), whole(request, "limit", 25, low=1, high=100)
        ids = sorted((u for u in reaction.users if int(u) > after), key=int)[:limit]
        return web.json_response([self.objects.user(self.world.users[u]) for u in ids])

    async def clear(self, request: web.Request) -> web.Response:
        channel, message = self._find(request)
        require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        self.reactions.clear(channel, message)
        return no_content()

    async def clear_emoji(self, request: web.Request) -> web.Response:
        channel, message = self._find(request)
        require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        self.reactions.clear_emoji(channel, message, request.match_info["emoji"])
        return no_content()
