"""The way to Discord: logging in, and coming back after outages, however long they take.

Before the login Discord may not be there yet, after a power cut for instance. Once connected,
discord.py comes back by itself, but it may sleep for a quarter of an hour between two tries: so
somebody looks whether Discord answers again, and then begins anew.
"""

import asyncio
import contextlib
import email.utils
import itertools
from datetime import UTC
from typing import Final

import aiohttp
import discord
import structlog

from bot.services import Client

log = structlog.get_logger(__name__)

WAITS: Final = (2.0, 5.0, 15.0, 60.0)
"""Seconds between tries to log in, unless Discord says how long; the last again and again."""
WAIT_MAX: Final = 3600.0
LOOK_EVERY: Final = 5.0
"""Seconds between looks at a connection that is lost."""
STUCK_AFTER: Final = 15.0
"""Seconds for which Discord answers while discord.py does not come back."""
PROBE_SECONDS: Final = 10.0
UNAUTHORIZED: Final = 401
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500

REFUSED: Final = {
    4004: (
        "Discord refuses the token. Copy a new one from the Developer Portal, under your"
        " application's Bot, to DISCORD_TOKEN."
    ),
    4010: "Discord refuses the shard. Set no shards for this application's bot.",
    4011: "The bot is in more servers than one connection may serve. Remove it from some.",
    4012: "Discord no longer speaks this version of its protocol. Install a newer Darkroom.",
    4013: "Discord does not know an intent that the bot asks for. Install a newer Darkroom.",
    4014: (
        "Discord does not allow the bot an intent that it asks for. Open the Developer Portal,"
        " under your application's Bot, and switch on the privileged intents that are off."
    ),
}
"""What to do about the gateway's close codes that come again at each try."""


class RefusedError(Exception):
    """Discord does not let the bot in; the text says what to change."""


async def stay_connected(client: Client, token: str) -> None:
    """Log in and hold the connection until the client is closed. Raises RefusedError."""
    await _log_in(client, token)
    while not client.is_closed():
        await _connect(client)


async def _log_in(client: Client, token: str) -> None:
    waits = itertools.chain(WAITS, itertools.repeat(WAITS[-1]))
    while True:
        why, wait = await _unreachable(client)
        if why is None:
            try:
                await client.login(token)
            except discord.LoginFailure:
                raise RefusedError(REFUSED[4004]) from None
            except (
                discord.HTTPException,
                discord.RateLimited,
                aiohttp.ClientError,
                OSError,
            ) as error:
                why, wait = str(error) or type(error).__name__, told_wait(error)
                # a new login makes a new session
                await client.http.close()
                client.http.connector = discord.utils.MISSING
            else:
                return
        seconds = next(waits) if wait is None else wait
        log.warning("Discord can't be reached yet", why=why, seconds=seconds)
        await asyncio.sleep(seconds)


async def _connect(client: Client) -> None:
    """Connect and stay so; returns to be called again where discord.py does not come back."""
    connecting = asyncio.create_task(client.connect())
    watching = asyncio.create_task(_until_stuck(client))
    try:
        await asyncio.wait({connecting, watching}, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            await connecting
        else:
            log.warning("Discord answers again: connecting anew")
    except discord.PrivilegedIntentsRequired:
        raise RefusedError(REFUSED[4014]) from None
    except discord.ConnectionClosed as error:
        sentence = f"Discord has closed the connection for good, with code {error.code}."
        raise RefusedError(REFUSED.get(error.code, sentence)) from None
    finally:
        for task in (connecting, watching):
            task.cancel()
        await asyncio.gather(connecting, watching, return_exceptions=True)


async def _until_stuck(client: Client) -> None:
    """Return when Discord has answered for a while and the connection is still lost."""
    answering = 0.0
    while answering < STUCK_AFTER:
        await asyncio.sleep(LOOK_EVERY)
        if client.online or (await _unreachable(client))[0] is not None:
            answering = 0.0
        else:
            answering += LOOK_EVERY


async def _unreachable(client: Client) -> tuple[str | None, float | None]:
    """Why Discord does not answer, None if it does; and for how many seconds it says to wait."""
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(f"{discord.http.Route.BASE}/gateway") as response,
        ):
            _set_clock(client, response.headers.get("Date"))
            if response.status >= SERVER_ERROR or response.status == TOO_MANY_REQUESTS:
                return f"status {response.status}", _seconds(response.headers.get("Retry-After"))
            return None, None
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__, None


def told_wait(error: Exception) -> float | None:
    """For how many seconds Discord has said to wait; None where it has not."""
    if isinstance(error, discord.RateLimited):
        return min(error.retry_after, WAIT_MAX)
    if isinstance(error, discord.HTTPException):
        return _seconds(error.response.headers.get("Retry-After"))
    return None


def _seconds(header: str | None) -> float | None:
    with contextlib.suppress(ValueError):
        return min(max(0.0, float(header or "")), WAIT_MAX)
    return None


def _set_clock(client: Client, date: str | None) -> None:
    with contextlib.suppress(ValueError):
        told = email.utils.parsedate_to_datetime(date or "")
        client.services.clock.observe(told.replace(tzinfo=UTC))
