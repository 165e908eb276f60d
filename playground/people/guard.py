"""Keeps other web pages out: the page and /control answer only to loopback names.

A page on the web can make a browser send requests to 127.0.0.1, directly or through a name that
resolves to it (DNS rebinding). The Host and Origin headers tell.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from playground.errors import DiscordError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """`host` with or without a port: localhost or a loopback address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware for everything but /api, /gateway and /cdn."""
    origin = request.headers.get("Origin")
    if not is_loopback(request.host) or (origin and not is_loopback(urlsplit(origin).netloc)):
        body = {"message": "Only pages of this computer may use this address.", "code": 0}
        return web.json_response(body, status=403)
    try:
        return await handler(request)
    except DiscordError as error:
        return web.json_response(error.body(), status=error.status)
