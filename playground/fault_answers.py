"""How a fault answers a request: Discord's JSON, Cloudflare's page, or a broken connection."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import sys

from aiohttp import web

from .faults import Fault
from .ratelimit import RateLimited

LOST = 499
"""The status in the record of requests whose connection was broken instead of an answer."""

LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""Close at once and answer what still comes with a reset (RST)."""


async def strike(request: web.Request, fault: Fault) -> web.Response:
    """What the fault does to this request."""
    await asyncio.sleep(fault.delay)
    if fault.breaks:
        lose(request.transport, reset=fault.reset)
        return web.Response(status=LOST)
    status, answer = fault.http_status, fault.answer()
    headers: dict[str, str] = {}
    if status == 429 and not fault.cloudflare:
        wait = 0.5 if fault.retry_after is None else fault.retry_after
        headers = RateLimited(wait, "global" if fault.global_ else "user", {}).headers
    elif fault.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(fault.retry_after))
    if fault.cloudflare:
        headers["Server"] = "cloudflare"
    if isinstance(answer, str):
        kind = "text/html" if fault.cloudflare else "text/plain"
        return web.Response(text=answer, status=status, headers=headers, content_type=kind)
    return web.json_response(answer, status=status, headers=headers)


def lose(transport: asyncio.BaseTransport | None, *, reset: bool) -> None:
    """End the connection: closed, as a server that dies does, or reset as a broken network is."""
    if not isinstance(transport, asyncio.Transport):
        return
    if reset:
        found: socket.socket | None = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    transport.abort()
