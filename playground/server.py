"""Joins the parts into one aiohttp application and serves it on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from . import founding
from .cdn import Cdn
from .clock import Clock
from .commands import Commands
from .events import Events
from .faults import Faults
from .founding import Plan, set_skew
from .gateway import Gateway
from .intents import application_flags
from .interactions import ACKNOWLEDGE_WITHIN, Interactions
from .messages import Messages
from .objects import Objects
from .people.acts import Acts
from .people.chat import Chat
from .people.guard import guarded
from .people.installs import Installs
from .people.servers import Servers
from .people.threads import ThreadActs
from .people.tools import Tools
from .persistence import Store
from .ratelimit import RateLimits
from .reactions import Reactions
from .responses import Responses
from .rest.api import Api
from .rest.channels import Access, Channels
from .rest.commands import RegisteredCommands
from .rest.guilds import Guilds
from .rest.identity import Identity
from .rest.interactions import InteractionAnswers
from .rest.messages import ChannelMessages
from .rest.reactions import MessageReactions
from .rest.requests import RequestLog
from .rest.threads import ThreadRoutes
from .thread_rules import ThreadRules
from .threads import Threads
from .world import World

HOST = "127.0.0.1"
LARGEST_REQUEST = 11 * 100 << 20
"""Bytes: ten files of the highest limit and one more, so that the refusal is Discord's."""

STATIC = Path(__file__).parent / "static"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Options:
    """The command line."""

    port: int = 8100
    data: Path | None = None
    token: str | None = None
    plan: Plan = field(default_factory=Plan)
    privileged_intents: tuple[str, ...] = ()
    heartbeat_interval: float = 41.25
    acknowledge_within: float = ACKNOWLEDGE_WITHIN
    clock_skew: float | None = None
    """Seconds; by default that of the folder, else none."""


@dataclass(frozen=True)
class Addresses:
    url: str
    api: str
    gateway: str
    token: str
    application_id: str


class LocalDiscord:
    """One Discord: its world and everything that serves it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock(skew=options.clock_skew or 0.0)
        self.store = Store(options.data)
        self.world = World(self.store, self.clock)
        if not founding.load(self.world):
            founding.found(self.world, options.plan, options.token)
        elif options.token is not None:
            self.world.application.token = options.token
        if options.clock_skew is not None and options.clock_skew != self.clock.skew:
            set_skew(self.world, options.clock_skew)
        self.world.application.flags = application_flags(list(options.privileged_intents))
        self.world.save(self.world.application)
        self.cdn = Cdn(self.world)
        self.objects = Objects(self.world, self.cdn)
        self.events = Events(self.world, self.objects)
        self.faults = Faults()
        self.gateway = Gateway(
            self.world,
            self.objects,
            self.events,
            self.faults,
            check_token=self.check_token,
            heartbeat_interval=options.heartbeat_interval,
        )
        self.events.bot = self.gateway
        rules = ThreadRules(self.world, self.objects, self.events)
        self.messages = Messages(self.world, self.objects, self.events, rules)
        self.threads = Threads(self.world, self.objects, self.events, self.messages)
        self.reactions = Reactions(self.world, self.objects, self.events)
        self.commands = Commands(self.world, self.objects, self.events)
        self.interactions = Interactions(
            self.world,
            self.objects,
            self.events,
            self.messages,
            self.commands,
            self.clock,
            acknowledge_within=options.acknowledge_within,
        )
        self.responses = Responses(self.world, self.interactions, self.messages)
        self.limits = RateLimits(self.clock)
        self.log = RequestLog()
        self.api = Api(self.clock, self.limits, self.faults, self.log, self.check_token)

    def check_token(self, token: str) -> bool:
        """Any token will do, unless one was asked for."""
        if self.options.token is None:
            return bool(token.strip())
        return token == self.options.token

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware], client_max_size=LARGEST_REQUEST)
        app.on_response_prepare.append(self._tell_time)
        for part in self._parts():
            app.add_routes(part)
        return app

    def _parts(self) -> list[list[web.RouteDef]]:
        world, objects, events = self.world, self.objects, self.events
        access = Access(world, objects)
        return [
            Identity(world, objects, self.gateway).routes(),
            Channels(access, objects, events, self.threads).routes(),
            ThreadRoutes(world, access, objects, self.threads).routes(),
            ChannelMessages(world, access, objects, self.messages).routes(),
            MessageReactions(world, access, objects, self.reactions).routes(),
            Guilds(world, objects, events).routes(),
            RegisteredCommands(world, objects, self.commands).routes(),
            InteractionAnswers(
                world, objects, self.interactions, self.responses, self.messages
            ).routes(),
            self.api.routes(),
            self.cdn.routes(),
            [web.get("/gateway", self.gateway.serve), web.get("/gateway/", self.gateway.serve)],
            Chat(
                world,
                objects,
                events,
                self.messages,
                self.reactions,
                self.commands,
                self.gateway,
            ).routes(),
            Acts(world, self.interactions, self.reactions).routes(),
            Servers(world, objects, events).routes(),
            ThreadActs(world, objects, self.threads).routes(),
            Installs(world, objects, events).routes(),
            Tools(
                world,
                self.clock,
                self.gateway,
                events,
                self.messages,
                self.log,
                self.faults,
                self.limits,
                self.options.plan,
            ).routes(),
            [web.get("/", serve_page), web.get("/static/{path:.+}", serve_static)],
        ]

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/api/"):
            return await self.api.handle(request, handler)
        if request.path.startswith(("/gateway", "/cdn/")):
            return await handler(request)
        return await guarded(request, handler)

    async def _tell_time(self, request: web.Request, response: web.StreamResponse) -> None:
        """`Date` by this Discord's clock, which may differ from the machine's."""
        response.headers["Date"] = formatdate(self.clock.told(), usegmt=True)

    def listen_at(self, port: int) -> Addresses:
        """Now that the port is known, links and addresses can be made."""
        url = f"http://{HOST}:{port}"
        self.cdn.base = url
        self.gateway.url = f"ws://{HOST}:{port}/gateway"
        application = self.world.application
        return Addresses(url, f"{url}/api", self.gateway.url, application.token, application.id)

    def close(self) -> None:
        self.clock.stop()
        self.store.close()


async def serve_page(request: web.Request) -> web.StreamResponse:
    return _file(STATIC / "index.html")


async def serve_static(request: web.Request) -> web.StreamResponse:
    path = (STATIC / request.match_info["path"]).resolve()
    if not path.is_relative_to(STATIC.resolve()):
        raise web.HTTPNotFound
    return _file(path)


def _file(path: Path) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[Addresses]:
    """Serve until the block ends."""
    discord = LocalDiscord(options)
    runner = web.AppRunner(discord.application(), access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        site = web.TCPSite(runner, HOST, options.port)
        await site.start()
        addresses = discord.listen_at(runner.addresses[0][1])
        discord.interactions.watch_all(list(discord.world.interactions.values()))
        yield addresses
    finally:
        discord.gateway.close_all()
        await runner.cleanup()
        discord.close()
