"""Channels: their objects and typing; and which channels the bot may touch."""

from __future__ import annotations

from aiohttp import web

from playground.errors import MissingAccess
from playground.events import Events
from playground.intents import Intent
from playground.objects import Objects
from playground.permissions import Permission, require
from playground.threads import Threads
from playground.world import DM, Channel, Json, World

from .api import body_of, no_content

PREFIX = "/api/v10/channels/{channel}"


class Access:
    """Finds what a path names and checks what the bot may do with it."""

    def __init__(self, world: World, objects: Objects) -> None:
        self.world = world
        self.objects = objects

    def channel(
        self, request: web.Request, needed: Permission = Permission.VIEW_CHANNEL
    ) -> Channel:
        """10003 for no such channel, 50001 for a hidden one, 50013 for a permission missing."""
        channel = self.world.channel(request.match_info["channel"])
        granted = self.permissions(channel)
        if Permission.VIEW_CHANNEL not in granted:
            raise MissingAccess
        require(granted, needed)
        return channel

    def to_write_in(self, request: web.Request) -> Channel:
        """A channel that the bot may write messages in."""
        channel = self.channel(request)
        require(self.permissions(channel), self.objects.sending(channel))
        return channel

    def permissions(self, channel: Channel) -> Permission:
        return self.objects.permissions(channel, self.world.bot.id)


class Channels:
    def __init__(self, access: Access, objects: Objects, events: Events, threads: Threads) -> None:
        self.access = access
        self.objects = objects
        self.events = events
        self.threads = threads

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX, self.get),
            web.patch(PREFIX, self.change),
            web.delete(PREFIX, self.delete),
            web.post(f"{PREFIX}/typing", self.typing),
        ]

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self.objects.channel(self.access.channel(request)))

    async def change(self, request: web.Request) -> web.Response:
        body = body_of(request).object
        channel = self.access.channel(request)
        if channel.thread is not None:
            self.threads.rules.change(channel, self.access.world.bot.id, body)
            return web.json_response(self.objects.channel(channel))
        require(self.access.permissions(channel), Permission.MANAGE_CHANNELS)
        for name in ("name", "topic", "nsfw"):
            if name in body:
                setattr(channel, name, body[name])
        self.access.world.save(channel)
        rendered = self.objects.channel(channel)
        self.events.channel_event("CHANNEL_UPDATE", channel)
        return web.json_response(rendered)

    async def delete(self, request: web.Request) -> web.Response:
        channel = self.access.channel(request)
        rendered = self.objects.channel(channel)
        if channel.thread is not None:
            require(self.access.permissions(channel), Permission.MANAGE_THREADS)
            self.threads.delete(channel)
            return web.json_response(rendered)
        require(self.access.permissions(channel), Permission.MANAGE_CHANNELS)
        self.events.channel_event("CHANNEL_DELETE", channel)
        self.access.world.remove_channel(channel)
        return web.json_response(rendered)

    async def typing(self, request: web.Request) -> web.Response:
        channel = self.access.to_write_in(request)
        world = self.access.world
        data: Json = {"user_id": world.bot.id, "timestamp": int(world.clock.told())}
        guild = world.guild_of(channel)
        if guild is not None and channel.type != DM:
            data["member"] = self.objects.member(guild.members[world.bot.id])
        self.events.in_channel(
            "TYPING_START",
            channel,
            data,
            Intent.GUILD_MESSAGE_TYPING,
            Intent.DIRECT_MESSAGE_TYPING,
        )
        return no_content()
