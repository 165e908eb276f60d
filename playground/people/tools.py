"""For tests: the record of requests, faults, the gateway, the clock, a fresh start."""

from __future__ import annotations

from aiohttp import web

from playground import founding
from playground.clock import Clock
from playground.errors import Refused
from playground.events import Events
from playground.faults import Faults
from playground.gateway import Gateway
from playground.ratelimit import RateLimits
from playground.rest.query import whole
from playground.rest.requests import RequestLog
from playground.world import World

from .params import number, read_object


class Tools:
    def __init__(
        self,
        world: World,
        clock: Clock,
        gateway: Gateway,
        events: Events,
        log: RequestLog,
        faults: Faults,
        limits: RateLimits,
        plan: founding.Plan,
    ) -> None:
        self.world = world
        self.clock = clock
        self.gateway = gateway
        self.events = events
        self.log = log
        self.faults = faults
        self.limits = limits
        self.plan = plan

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/requests", self.requests),
            web.delete("/control/requests", self.forget_requests),
            web.post("/control/faults", self.add_fault),
            web.delete("/control/faults", self.clear_faults),
            web.post("/control/gateway", self.disturb_gateway),
            web.post("/control/clock", self.move_clock),
            web.post("/control/limits", self.switch_limits),
            web.post("/control/reset", self.reset),
        ]

    async def requests(self, request: web.Request) -> web.Response:
        since = whole(request, "since", 0)
        return web.json_response({"requests": self.log.since(since)})

    async def forget_requests(self, request: web.Request) -> web.Response:
        self.log.clear()
        return web.json_response({})

    async def add_fault(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        self.faults.add(given)
        return web.json_response({})

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({})

    async def disturb_gateway(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        action = given.get("do")
        if action == "drop":
            self.gateway.drop()
        elif action == "reconnect":
            self.gateway.reconnect()
        elif action == "invalid_session":
            self.gateway.invalidate(resumable=bool(given.get("resumable")))
        elif action == "zombie":
            self.gateway.zombie = True
        else:
            raise Refused(message="`do` is drop, reconnect, invalid_session or zombie.")
        return web.json_response({})

    async def move_clock(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        seconds = number(given.get("advance"), "advance")
        if seconds < 0:
            raise Refused(message="The clock only moves forward.")
        self.clock.advance(seconds)
        founding.save_meta(self.world)
        return web.json_response({"now": self.clock.now()})

    async def switch_limits(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        self.limits.enabled = bool(given.get("enabled", True))
        return web.json_response({})

    async def reset(self, request: web.Request) -> web.Response:
        """A fresh server. The bot, its token and global commands stay, and the people's ids."""
        self.faults.clear()
        self.log.clear()
        self.clock.stop()
        self.clock.offset = 0.0
        self.limits.forget()
        founding.refound(self.world, self.plan)
        self.gateway.invalidate(resumable=False)
        self.events.to_everyone("RESET", {})
        return web.json_response({})
