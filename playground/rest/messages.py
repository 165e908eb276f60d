"""Messages in channels: create, read, edit, delete, pins."""

from __future__ import annotations

from aiohttp import web

from playground.errors import (
    CannotEditAnother,
    CannotOnSystemMessage,
    CannotSendToUser,
    TooManyPins,
    UnknownMessage,
    WrongChannelType,
)
from playground.messages import Draft, Messages
from playground.objects import Objects
from playground.permissions import Permission, require
from playground.snowflake import timestamp
from playground.validation.form import Form
from playground.validation.messages import SUPPRESS_EMBEDS
from playground.world import DM, Channel, Message, World

from .api import body_of, no_content
from .channels import PREFIX, Access
from .query import whole

MESSAGES = f"{PREFIX}/messages"
MESSAGE = f"{MESSAGES}/{{message}}"
MAX_PINS = 250


class ChannelMessages:
    def __init__(self, world: World, access: Access, objects: Objects, messages: Messages) -> None:
        self.world = world
        self.access = access
        self.objects = objects
        self.messages = messages

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(MESSAGES, self.create),
            web.get(MESSAGES, self.history),
            web.post(f"{MESSAGES}/bulk-delete", self.bulk_delete),
            web.get(f"{MESSAGES}/pins", self.pins),
            web.put(f"{MESSAGES}/pins/{{message}}", self.pin),
            web.delete(f"{MESSAGES}/pins/{{message}}", self.unpin),
            web.get(MESSAGE, self.get),
            web.patch(MESSAGE, self.edit),
            web.delete(MESSAGE, self.delete),
        ]

    def _find(self, channel: Channel, request: web.Request) -> Message:
        """An ephemeral message can't be reached through its channel, not even by the bot."""
        message = self.world.message(channel.id, request.match_info["message"])
        if message.ephemeral:
            raise UnknownMessage
        return message

    def _answer(self, message: Message) -> web.Response:
        return web.json_response(self.objects.message(message, self.world.bot.id))

    async def create(self, request: web.Request) -> web.Response:
        body, files = body_of(request).object, body_of(request).files
        channel = self.access.to_write_in(request)
        if channel.recipient_id is not None and not self.world.meets_bot(channel.recipient_id):
            raise CannotSendToUser
        granted = self.access.permissions(channel)
        if files:
            require(granted, Permission.ATTACH_FILES)
        if body.get("embeds"):
            require(granted, Permission.EMBED_LINKS)
        if body.get("message_reference"):
            require(granted, Permission.READ_MESSAGE_HISTORY)
        message = self.messages.with_nonce(channel, self.world.bot.id, body)
        if message is None:
            message = self.messages.create(Draft(channel, self.world.bot.id, body, files))
        rendered = self.objects.message(message, self.world.bot.id)
        if message.nonce is not None:
            rendered["nonce"] = message.nonce
        return web.json_response(rendered)

    async def history(self, request: web.Request) -> web.Response:
        """Newest first. Without READ_MESSAGE_HISTORY the list is empty, as Discord's is."""
        channel = self.access.channel(request)
        if Permission.READ_MESSAGE_HISTORY not in self.access.permissions(channel):
            return web.json_response([])
        query = request.query
        limit = whole(request, "limit", 50, low=1, high=100)
        found = [m for m in self.messages.history(channel, "") if not m.ephemeral]
        if "around" in query:
            middle = whole(request, "around", 0)
            found.sort(key=lambda m: abs(int(m.id) - middle))
            found = sorted(found[:limit], key=lambda m: int(m.id))
        elif "after" in query:
            oldest = whole(request, "after", 0)
            found = [m for m in found if int(m.id) > oldest][:limit]
        else:
            newest = whole(request, "before", 2**63 - 1)
            found = [m for m in found if int(m.id) < newest][-limit:]
        viewer = self.world.bot.id
        return web.json_response([self.objects.message(m, viewer) for m in reversed(found)])

    async def get(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request, Permission.READ_MESSAGE_HISTORY)
        return self._answer(self._find(channel, request))

    async def edit(self, request: web.Request) -> web.Response:
        body, files = body_of(request).object, body_of(request).files
        channel = self.access.channel(request)
        message = self._find(channel, request)
        if message.author_id != self.world.bot.id:
            self._edit_anothers(channel, message, body)
        else:
            if files:
                require(self.access.permissions(channel), Permission.ATTACH_FILES)
            self.messages.edit(message, body, files)
        return self._answer(message)

    def _edit_anothers(self, channel: Channel, message: Message, body: dict[str, object]) -> None:
        if set(body) != {"flags"}:
            raise CannotEditAnother
        require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        flags = body["flags"]
        suppress = isinstance(flags, int) and bool(flags & SUPPRESS_EMBEDS)
        self.messages.suppress_embeds(message, suppress=suppress)

    async def delete(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        message = self._find(channel, request)
        if message.author_id != self.world.bot.id:
            if channel.type == DM:
                raise CannotOnSystemMessage
            require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        self.messages.delete(channel, [message])
        return no_content()

    async def bulk_delete(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        if channel.type == DM:
            raise WrongChannelType
        require(self.access.permissions(channel), Permission.MANAGE_MESSAGES)
        body = body_of(request).object
        form = Form()
        form.ids(body, "messages", at_most=1000)
        form.done()
        self.messages.bulk_delete(channel, [str(i) for i in body.get("messages") or []])
        return no_content()

    async def pins(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request, Permission.READ_MESSAGE_HISTORY)
        pinned = [m for m in self.messages.history(channel, "") if m.pinned]
        now = timestamp(self.world.clock.told())
        items = [
            {"pinned_at": now, "message": self.objects.message(m, self.world.bot.id)}
            for m in reversed(pinned)
        ]
        return web.json_response({"items": items, "has_more": False})

    async def pin(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        self._require_pin(channel)
        if sum(m.pinned for m in self.messages.history(channel, "")) >= MAX_PINS:
            raise TooManyPins
        self.messages.set_pinned(self._find(channel, request), True)
        return no_content()

    async def unpin(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        self._require_pin(channel)
        self.messages.set_pinned(self._find(channel, request), False)
        return no_content()

    def _require_pin(self, channel: Channel) -> None:
        if Permission.MANAGE_MESSAGES not in self.access.permissions(channel):
            require(self.access.permissions(channel), Permission.PIN_MESSAGES)
