"""For tests: the record of requests, faults, the gateway, the clock, a fresh start."""

from __future__ import annotations

from aiohttp import web

from playground import founding
from playground.clock import Clock
from playground.errors import Refused
from playground.events import Events
from playground.faults import Faults
from playground.gateway import Gateway
from playground.messages import Messages
from playground.ratelimit import RateLimits
from playground.rest.query import whole
from playground.rest.requests import RequestLog
from playground.world import Json, World

from .params import number, read_object, whole_number

ACTIONS = (
    "drop", "reconnect", "invalid_session", "zombie", "close", "refuse_identify", "twice", "repeat",
)  # fmt: skip
ABNORMAL = 1006
"""No close code at all: the connection just ends."""


def close_code(given: Json) -> int:
    code = given.get("code")
    if isinstance(code, bool) or not isinstance(code, int):
        raise Refused(message="`code` must be a close code.")
    if code != ABNORMAL and not (1000 <= code <= 1014 or 3000 <= code <= 4999):
        raise Refused(message=f"{code} is no close code that can be sent.")
    return code


def event_name(given: Json) -> str:
    if not isinstance(given.get("event"), str):
        raise Refused(message="`event` must be the name of a gateway event.")
    return str(given["event"])


class Tools:
    def __init__(
        self,
        world: World,
        clock: Clock,
        gateway: Gateway,
        events: Events,
        messages: Messages,
        log: RequestLog,
        faults: Faults,
        limits: RateLimits,
        plan: founding.Plan,
    ) -> None:
        self.world = world
        self.clock = clock
        self.gateway = gateway
        self.events = events
        self.messages = messages
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
            web.post("/control/nonces", self.forget_nonces),
            web.get("/control/limits", self.report_limits),
            web.post("/control/limits", self.switch_limits),
            web.delete("/control/limits", self.forget_limits),
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
        elif action == "close":
            self._close(close_code(given))
        elif action == "refuse_identify":
            codes = [close_code(given)] * whole_number(given.get("times", 1), "times")
            self.gateway.refused_identifies.extend(codes)
        elif action == "twice":
            self.gateway.doubled[event_name(given)] = whole_number(given.get("times", 1), "times")
        elif action == "repeat":
            if not self.gateway.repeat(event_name(given)):
                raise Refused(message=f"There was no {given['event']} yet.")
        else:
            raise Refused(message=f"`do` is one of {', '.join(ACTIONS)}.")
        return web.json_response({})

    def _close(self, code: int) -> None:
        if code == ABNORMAL:
            self.gateway.drop()
        else:
            self.gateway.close_all(code, "A fault")

    async def forget_nonces(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        lifetime = given.get("lifetime")
        self.messages.forget_nonces(None if lifetime is None else number(lifetime, "lifetime"))
        return web.json_response({})

    async def move_clock(self, request: web.Request) -> web.Response:
        """`advance` lets time pass; `skew` sets what this Discord takes for the time of day."""
        given, _ = await read_object(request)
        if not given.keys() & {"advance", "skew"}:
            raise Refused(message="Say by how many seconds to `advance`, or the `skew`.")
        if "skew" in given:
            founding.set_skew(self.world, number(given["skew"], "skew"))
        if "advance" in given:
            seconds = number(given["advance"], "advance")
            if seconds < 0:
                raise Refused(message="The clock only moves forward.")
            self.clock.advance(seconds)
            founding.save_meta(self.world)
        return web.json_response({"now": self.clock.now(), "told": self.clock.told()})

    async def switch_limits(self, request: web.Request) -> web.Response:
        given, _ = await read_object(request)
        self.limits.enabled = bool(given.get("enabled", True))
        return web.json_response({})

    async def report_limits(self, request: web.Request) -> web.Response:
        return web.json_response(self.limits.report())

    async def forget_limits(self, request: web.Request) -> web.Response:
        self.limits.forget()
        return web.json_response({})

    async def reset(self, request: web.Request) -> web.Response:
        """A fresh server. The bot, its token and global commands stay, and the people's ids."""
        self.faults.clear()
        self.log.clear()
        self.clock.stop()
        self.clock.offset = 0.0
        if self.clock.skew:
            founding.set_skew(self.world, 0.0)
        self.messages.forget_nonces()
        self.gateway.forget_faults()
        self.limits.forget()
        founding.refound(self.world, self.plan)
        self.gateway.invalidate(resumable=False)
        self.events.to_everyone("RESET", {})
        return web.json_response({})
