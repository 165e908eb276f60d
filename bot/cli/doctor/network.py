"""Discord and Hugging Face, as they answer."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import aiohttp
import discord

from bot.cli.doctor.finding import Finding
from bot.config import DISCORD_API, Config

NETWORK_SECONDS: Final = 10

PERMISSIONS: Final = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
    add_reactions=True,
)
"""What the bot needs in the channels where it works."""


async def check_discord(config: Config) -> AsyncIterator[Finding]:
    """The token, and with it the bot's intents and its permissions in every server."""
    if not config.token:
        mend = "Put DISCORD_TOKEN=… into .env to connect to Discord; without, the local one starts."
        yield Finding("token", "none", mend, fatal=False)
        return
    api = (config.discord.api or DISCORD_API).rstrip("/") + "/v10"
    headers = {"Authorization": f"Bot {config.token}"}
    timeout = aiohttp.ClientTimeout(total=NETWORK_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            async for finding in _check_account(session, api):
                yield finding
    except (aiohttp.ClientError, TimeoutError) as error:
        mend = f"{api} can't be reached ({type(error).__name__}). Check the network and [discord]."
        yield Finding("token", "not checked", mend)


async def _check_account(session: aiohttp.ClientSession, api: str) -> AsyncIterator[Finding]:
    async with session.get(f"{api}/applications/@me") as response:
        if response.status == 401:
            mend = "Discord refuses it. Copy a new one: Developer Portal, your application, Bot."
            yield Finding("token", "wrong", mend)
            return
        response.raise_for_status()
        application = await response.json()
    yield Finding("token", f"belongs to {application['name']}")
    yield Finding("intents", "no privileged one is needed")
    async with session.get(f"{api}/users/@me/guilds") as response:
        response.raise_for_status()
        guilds = await response.json()
    invitation = discord.utils.oauth_url(int(application["id"]), permissions=PERMISSIONS)
    if guilds:
        yield Finding("invitation", invitation)
    else:
        yield Finding("servers", "none", f"Invite the bot: {invitation}", fatal=False)
    for guild in guilds:
        has = discord.Permissions(int(guild["permissions"]))
        missing = [
            name.replace("_", " ")
            for name, needed in PERMISSIONS
            if needed and not (getattr(has, name) or has.administrator)
        ]
        mend = f"Grant the bot: {', '.join(missing)}." if missing else ""
        yield Finding("permissions", guild["name"], mend, fatal=False)


async def check_hugging_face(config: Config) -> AsyncIterator[Finding]:
    """The endpoint that models come from. Nothing here needs it while models are on disk."""
    settings = config.huggingface
    if settings.offline:
        yield Finding("Hugging Face", "offline, as config.toml says")
        return
    endpoint = settings.endpoint or "https://huggingface.co"
    timeout = aiohttp.ClientTimeout(total=NETWORK_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.head(endpoint):
            yield Finding("Hugging Face", f"{endpoint} answers")
        if settings.token:
            yield await _check_token(settings.token, endpoint)
    except ValueError:
        mend = "It is no address: write https://… in [huggingface], or leave it empty."
        yield Finding("Hugging Face", endpoint, mend, fatal=False)
    except (aiohttp.ClientError, TimeoutError) as error:
        mend = (
            f"It can't be reached ({type(error).__name__}). Models on disk work without;"
            " for a mirror set [huggingface] endpoint."
        )
        yield Finding("Hugging Face", endpoint, mend, fatal=False)


async def _check_token(token: str, endpoint: str) -> Finding:
    """Whether the hub knows it; mirrors may not be able to say."""
    timeout = aiohttp.ClientTimeout(total=NETWORK_SECONDS)
    headers = {"Authorization": f"Bearer {token}"}
    address = f"{endpoint.rstrip('/')}/api/whoami-v2"
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.get(address) as response,
    ):
        if response.status == HTTPStatus.UNAUTHORIZED:
            mend = (
                "The hub refuses it. Make another in your settings there, and set it as HF_TOKEN."
            )
            return Finding("HF_TOKEN", "wrong", mend, fatal=False)
    return Finding("HF_TOKEN", "is set")
