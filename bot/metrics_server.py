"""`/metrics`, `/health` and `/ready` over HTTP, for those who watch the bot."""

import contextlib
import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot.config import MetricsSettings
from bot.metrics import Metrics
from bot.storage_folder import StartError

log = structlog.get_logger(__name__)

Reasons = Callable[[], Awaitable[Mapping[str, str]]]
"""Why the bot can't do its work, by what is wrong; empty where it can."""


@contextlib.asynccontextmanager
async def serving_metrics(
    settings: MetricsSettings, metrics: Metrics, reasons: Reasons
) -> AsyncIterator[int]:
    """Answer on the port of the settings; yields the port, 0 where none is wanted.

    Raises StartError where nobody can listen there.
    """
    if not settings.port:
        yield 0
        return

    async def show(_request: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        wrong = await reasons()
        answer = {"status": "not ready" if wrong else "ready", "reasons": dict(wrong)}
        return web.Response(
            text=json.dumps(answer), content_type="application/json", status=503 if wrong else 200
        )

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", show), web.get("/health", health), web.get("/ready", ready)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"[metrics] {_why_not(settings, error)}") from None
        log.info("metrics", address=f"http://{settings.host}:{settings.port}/metrics")
        yield settings.port
    finally:
        await runner.cleanup()


def _why_not(settings: MetricsSettings, error: OSError) -> str:
    """In words, and what to change."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"port = {settings.port}: another program listens there. Name another."
        case errno.EACCES:
            return f"port = {settings.port}: this user may not listen there. Name one from 1024 on."
    return f'host = "{settings.host}" is no address of this machine: name one, as "127.0.0.1".'
