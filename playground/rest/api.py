"""What every REST request goes through: its record, faults, token, rate limit, its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from playground.clock import Clock
from playground.errors import DiscordError, NotFound, Unauthorized
from playground.fault_answers import strike
from playground.faults import Fault, Faults
from playground.ratelimit import MAJOR, RateLimited, RateLimits
from playground.snowflake import timestamp

from .requests import Body, RequestLog, read_body

PREFIX = "/api/v10"
VIA = {"Via": "1.1 playground"}
"""discord.py takes a 429 without it for a ban by Cloudflare and gives up."""

WITHOUT_TOKEN = ("/interactions/", "/webhooks/")
"""Routes whose path carries their own token."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = web.RequestKey("body", Body)


class Api:
    def __init__(
        self,
        clock: Clock,
        limits: RateLimits,
        faults: Faults,
        log: RequestLog,
        check_token: Callable[[str], bool],
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.faults = faults
        self.log = log
        self.check_token = check_token

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/api/{rest:.*}", self._unknown)]

    async def _unknown(self, request: web.Request) -> web.Response:
        raise NotFound

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware for /api."""
        path = request.path.removeprefix(PREFIX)
        body, fault = Body(), None
        try:
            body = await read_body(request)
            request[BODY] = body
            self.limits.arrived(*self._route(request))
            fault = self.faults.next(request.method, path, files=bool(body.files))
            if fault is None or fault.after:
                response = await self._answer(request, path, handler)
            if fault is not None:
                response = await strike(request, fault)
                self._count_fault(request, fault)
        except DiscordError as error:
            response = _json(error.body(), error.status)
        except RateLimited as limited:
            response = _json(limited.body(), 429, limited.headers)
        if not isinstance(response, web.StreamResponse):
            raise TypeError(response)
        self.log.add(request, path, body, response.status, timestamp(self.clock.told()))
        if fault is None or not fault.cloudflare:
            response.headers.update(VIA)
        if response.content_type == "application/json":
            # as Discord writes it; discord.py looks for exactly this, without a charset
            response.headers["Content-Type"] = "application/json"
        return response

    async def _answer(
        self, request: web.Request, path: str, handler: Handler
    ) -> web.StreamResponse:
        if not path.startswith(WITHOUT_TOKEN):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bot" or not self.check_token(token):
                raise Unauthorized
        headers = self._count(request)
        try:
            response = await handler(request)
        except DiscordError as error:
            response = _json(error.body(), error.status)
        response.headers.update(headers)
        return response

    def _count(self, request: web.Request) -> dict[str, str]:
        method, template, major = self._route(request)
        return self.limits.take(method, template, major)

    def _route(self, request: web.Request) -> tuple[str, str, str]:
        """What a rate limit goes by: method, the path's template, its major parameters."""
        resource = request.match_info.route.resource
        template = "" if resource is None else resource.canonical.removeprefix(PREFIX)
        found = request.match_info
        major = "+".join(found[name] for name in MAJOR if name in found)
        return request.method, template, major

    def _count_fault(self, request: web.Request, fault: Fault) -> None:
        """A 429 that a fault gives counts like any other."""
        if fault.http_status != 429 or fault.breaks:
            return
        wait = fault.retry_after
        if wait is None:
            wait = 0.0 if fault.cloudflare else 0.5
        self.limits.given(*self._route(request), wait, everything=fault.global_)


def _json(
    data: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    return web.json_response(data, status=status, headers=headers)


def body_of(request: web.Request) -> Body:
    return request[BODY]


def no_content() -> web.Response:
    return web.Response(status=204)
