"""Setting the stage: servers, channels, roles, people, permissions."""

from __future__ import annotations

from aiohttp import web

from playground import founding
from playground.errors import Refused, UnknownChannel
from playground.events import Events
from playground.objects import UPLOAD_LIMITS, Objects
from playground.world import FORUM, TEXT, Channel, Guild, Member, Overwrite, World

from .params import names, number, read_object, whole_number

GUILD = "/control/guilds/{guild}"
MEMBER = f"{GUILD}/members/{{user}}"


class Servers:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/guilds", self.add_guild),
            web.patch(GUILD, self.change_guild),
            web.post(f"{GUILD}/channels", self.add_channel),
            web.post(f"{GUILD}/roles", self.add_role),
            web.patch(f"{GUILD}/roles/{{role}}", self.change_role),
            web.post("/control/users", self.add_user),
            web.post("/control/crowds", self.add_crowd),
            web.patch(MEMBER, self.change_member),
            web.put(MEMBER, self.change_member),
            web.delete(MEMBER, self.leave),
            web.patch("/control/channels/{channel}/permissions/{target}", self.overwrite),
            web.delete("/control/channels/{channel}", self.delete_channel),
        ]

    def _guild(self, request: web.Request) -> Guild:
        return self.world.guild(request.match_info["guild"])

    async def add_guild(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        people = [u for u in self.world.users.values() if not u.bot]
        owner = self.world.user(str(given["owner"])) if given.get("owner") else people[0]
        name, bot = str(given.get("name") or "Server"), given.get("bot") is not False
        guild = founding.add_guild(self.world, name, owner.id, bot=bot)
        founding.add_channel(self.world, guild, "general")
        self.events.guild_created(guild)
        channels = [self.objects.channel(c) for c in self.world.channels_of(guild)]
        return web.json_response(self.objects.guild(guild) | {"channels": channels})

    async def change_guild(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        guild = self._guild(request)
        if "premium_tier" in given:
            if given["premium_tier"] not in UPLOAD_LIMITS:
                raise Refused(message="`premium_tier` is 0, 1, 2 or 3.")
            guild.premium_tier = given["premium_tier"]
        guild.name = str(given.get("name", guild.name))
        guild.locale = str(given.get("locale", guild.locale))
        self.world.save(guild)
        self.events.guild_updated(guild)
        return web.json_response(self.objects.guild(guild))

    async def add_channel(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        guild = self._guild(request)
        if not given.get("name"):
            raise Refused(message="A channel needs a name.")
        kind = given.get("type", TEXT)
        if kind not in (TEXT, FORUM):
            raise Refused(message="`type` is 0, a text channel, or 15, a forum.")
        channel = founding.add_channel(
            self.world,
            guild,
            str(given["name"]),
            nsfw=bool(given.get("nsfw")),
            kind=kind,
            tags=names(given.get("tags") or []),
        )
        self.events.channel_event("CHANNEL_CREATE", channel)
        return web.json_response(self.objects.channel(channel))

    async def delete_channel(self, request: web.Request) -> web.Response:
        channel = self._guild_channel(request)
        self.events.channel_event("CHANNEL_DELETE", channel)
        self.world.remove_channel(channel)
        return web.json_response({})

    def _guild_channel(self, request: web.Request) -> Channel:
        channel = self.world.channel(request.match_info["channel"])
        if channel.guild_id is None:
            raise UnknownChannel
        return channel

    async def add_role(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        guild = self._guild(request)
        bits = int(given.get("permissions") or 0)
        role = founding.add_role(self.world, guild, str(given.get("name") or "new role"), bits)
        data = self.objects.role(role)
        self.events.guild_event("GUILD_ROLE_CREATE", guild, {"role": data})
        return web.json_response(data)

    async def change_role(self, request: web.Request) -> web.Response:
        """`@everyone`'s id is the server's."""
        given, _ = await read_object(request)
        guild = self._guild(request)
        role = guild.roles.get(request.match_info["role"])
        if role is None:
            raise Refused(message="There is no such role in this server.")
        role.permissions = int(given.get("permissions", role.permissions))
        role.name = str(given.get("name", role.name))
        self.world.save(guild)
        data = self.objects.role(role)
        self.events.guild_event("GUILD_ROLE_UPDATE", guild, {"role": data})
        return web.json_response(data)

    async def add_user(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        name = str(given.get("name") or "")
        if not name or any(u.name == name for u in self.world.users.values()):
            raise Refused(message="A person needs a name that nobody else has.")
        guilds = [self.world.guild(g) for g in names(given.get("guilds", list(self.world.guilds)))]
        user = founding.add_user(self.world, name, str(given.get("locale") or "en-US"))
        roles = names(given.get("roles") or [])
        for guild in guilds:
            member = founding.join(
                self.world, guild, user.id, [r for r in roles if r in guild.roles]
            )
            self.events.member_event("GUILD_MEMBER_ADD", guild, member)
        return web.json_response(self.objects.user(user) | {"locale": user.locale})

    async def add_crowd(self, request: web.Request) -> web.Response:
        """Many members at once, named NAME-1, NAME-2, …; nobody is told of them."""
        given, _ = await read_object(request)
        count, name = whole_number(given.get("count"), "count"), str(given.get("name") or "crowd")
        guild = self.world.guild(str(given.get("guild")))
        users = [founding.add_user(self.world, f"{name}-{n + 1}") for n in range(count)]
        for user in users:
            guild.members[user.id] = Member(user.id, [], self.world.clock.now())
        self.world.save(guild)
        return web.json_response([self.objects.user(user) for user in users])

    async def change_member(self, request: web.Request) -> web.Response:
        """Roles, nickname, time-out, locale; PUT lets a person (or the bot) join."""
        given, _ = await read_object(request)
        guild = self._guild(request)
        user = self.world.user(request.match_info["user"])
        joins = user.id not in guild.members
        if joins and request.method != "PUT":
            self.world.member(guild, user.id)
        if joins and user.bot:
            founding.add_bot(self.world, guild)
        member = guild.members.get(user.id) or founding.join(self.world, guild, user.id, [])
        if "roles" in given:
            self._set_roles(guild, member, names(given["roles"]))
        member.nick = given.get("nick", member.nick)
        if "timeout" in given:
            member.timed_out_until = self.world.clock.now() + number(given["timeout"], "timeout")
        if "locale" in given:
            user.locale = str(given["locale"])
            self.world.save(user)
        self.world.save(guild)
        if joins and user.bot:
            self.events.guild_created(guild)
        name = "GUILD_MEMBER_ADD" if joins else "GUILD_MEMBER_UPDATE"
        self.events.member_event(name, guild, member)
        return web.json_response(self.objects.member(member))

    def _set_roles(self, guild: Guild, member: Member, roles: list[str]) -> None:
        if unknown := [r for r in roles if r not in guild.roles]:
            raise Refused(message=f"The server has no role {unknown[0]}.")
        member.roles = roles

    async def leave(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        user = self.world.user(request.match_info["user"])
        member = self.world.member(guild, user.id)
        del guild.members[user.id]
        self.world.save(guild)
        if user.bot:
            self.events.guild_left(guild, member)
        else:
            self.events.member_event("GUILD_MEMBER_REMOVE", guild, member)
        return web.json_response({})

    async def overwrite(self, request: web.Request) -> web.Response:
        """An exception for a role or a person; allow and deny both 0 take it away."""
        given, _ = await read_object(request)
        channel = self._guild_channel(request)
        guild = self.world.guild_of(channel)
        assert guild is not None
        target = request.match_info["target"]
        if target not in guild.roles:
            target = self.world.user(target).id
        kind = int(given.get("type", 0 if target in guild.roles else 1))
        allow, deny = int(given.get("allow") or 0), int(given.get("deny") or 0)
        if allow or deny:
            channel.overwrites[target] = Overwrite(target, kind, allow, deny)
        else:
            channel.overwrites.pop(target, None)
        self.world.save(channel)
        self.events.channel_event("CHANNEL_UPDATE", channel)
        return web.json_response(self.objects.channel(channel))
