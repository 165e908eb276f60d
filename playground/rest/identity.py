"""Who the bot is: users, the application, the gateway's address."""

from __future__ import annotations

from aiohttp import web

from playground import permissions
from playground.errors import CannotSendToUser, UnknownApplication, UnknownUser
from playground.gateway import Gateway
from playground.objects import Objects
from playground.snowflake import is_snowflake
from playground.world import World

from .api import body_of

PREFIX = "/api/v10"


class Identity:
    def __init__(self, world: World, objects: Objects, gateway: Gateway) -> None:
        self.world = world
        self.objects = objects
        self.gateway = gateway

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{PREFIX}/users/@me", self.me),
            web.patch(f"{PREFIX}/users/@me", self.change_me),
            web.get(f"{PREFIX}/users/{{user}}", self.user),
            web.get(f"{PREFIX}/users/@me/guilds", self.guilds),
            web.post(f"{PREFIX}/users/@me/channels", self.open_direct),
            web.get(f"{PREFIX}/applications/@me", self.application),
            web.patch(f"{PREFIX}/applications/@me", self.change_application),
            web.get(f"{PREFIX}/oauth2/applications/@me", self.application),
            web.get(f"{PREFIX}/applications/{{application}}/emojis", self.emojis),
            web.get(f"{PREFIX}/applications/{{application}}/entitlements", self.nothing),
            web.get(f"{PREFIX}/applications/{{application}}/skus", self.nothing),
            web.get(f"{PREFIX}/gateway", self.gateway_url),
            web.get(f"{PREFIX}/gateway/bot", self.gateway_bot),
            web.get(f"{PREFIX}/sticker-packs", self.sticker_packs),
            web.get(f"{PREFIX}/voice/regions", self.nothing),
        ]

    async def me(self, request: web.Request) -> web.Response:
        return web.json_response(self.objects.own_user())

    async def change_me(self, request: web.Request) -> web.Response:
        if username := body_of(request).object.get("username"):
            bot = self.world.bot
            bot.name = str(username)
            self.world.save(bot)
        return web.json_response(self.objects.own_user())

    async def user(self, request: web.Request) -> web.Response:
        user = self.world.users.get(request.match_info["user"])
        if user is None:
            raise UnknownUser
        return web.json_response(self.objects.user(user))

    async def guilds(self, request: web.Request) -> web.Response:
        bot = self.world.bot
        own = [g for g in self.world.guilds.values() if bot.id in g.members]
        keys = ("id", "name", "icon", "banner", "features")
        answer = []
        for guild in own:
            rendered = self.objects.guild(guild)
            held = permissions.in_guild(guild, guild.members[bot.id])
            mine = {"owner": False, "permissions": str(int(held))}
            answer.append({key: rendered[key] for key in keys} | mine)
        return web.json_response(answer)

    async def open_direct(self, request: web.Request) -> web.Response:
        recipient = str(body_of(request).object.get("recipient_id"))
        if not is_snowflake(recipient) or recipient not in self.world.users:
            raise UnknownUser
        if recipient == self.world.bot.id:
            raise CannotSendToUser
        return web.json_response(self.objects.channel(self.world.direct_channel(recipient)))

    async def application(self, request: web.Request) -> web.Response:
        return web.json_response(self.objects.application())

    async def change_application(self, request: web.Request) -> web.Response:
        body = body_of(request).object
        if "description" in body:
            self.world.application.description = str(body["description"])
            self.world.save(self.world.application)
        return web.json_response(self.objects.application())

    async def emojis(self, request: web.Request) -> web.Response:
        if request.match_info["application"] != self.world.application.id:
            raise UnknownApplication
        return web.json_response({"items": []})

    async def nothing(self, request: web.Request) -> web.Response:
        return web.json_response([])

    async def sticker_packs(self, request: web.Request) -> web.Response:
        return web.json_response({"sticker_packs": []})

    async def gateway_url(self, request: web.Request) -> web.Response:
        return web.json_response({"url": self.gateway.url})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        limit = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
        answer = {"url": self.gateway.url, "shards": 1, "session_start_limit": limit}
        return web.json_response(answer)
