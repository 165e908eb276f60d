"""A few words in a server where the bot is new, once a server."""

import asyncio
from datetime import timedelta
from typing import Final

import discord
import structlog

from bot.delivery import failures
from bot.features.help import page
from bot.locales import Texts
from bot.services import Client
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

NEW: Final = timedelta(days=7)
"""A server that the bot has been in for longer knows it, or has been without it unharmed."""


async def greet(client: Client, guild: discord.Guild) -> None:
    """Say what the bot does, where it has joined lately and has not said so before."""
    services = client.services
    joined = guild.me.joined_at
    if not services.discord.welcome or joined is None or services.clock.now() - joined > NEW:
        return
    channel = first_channel(guild)
    if channel is None:
        return
    for wait in (0, *failures.RETRIES):
        await asyncio.sleep(wait)
        # a stop waits for what has begun: who has been greeted is noted
        if await asyncio.shield(client.answers.spawn(_greeted(client, guild, channel))):
            return


async def _greeted(client: Client, guild: discord.Guild, channel: discord.TextChannel) -> bool:
    """Greet a server once; whether there is no more to do until the next start.

    Also where it was posted and the answer lost, for Discord knows the nonce a while.
    """
    services = client.services
    try:
        if await services.store.settings.noticed(guild.id, "welcome"):
            return True
        language = (await services.store.settings.guild(guild.id)).language
        prompts = page.examples(services.catalog, services.requests.rules)
        texts = Texts(language or str(guild.preferred_locale))
        text = page.welcome(prompts, client.command_ids, texts)
        await channel.send(text, nonce=f"w{guild.id}")
        await services.store.settings.notice(guild.id, "welcome")
    except (*failures.SENDING_ERRORS, DatabaseError) as error:
        log.info("no welcome", guild=guild.id, error=str(error))
        return not isinstance(error, DatabaseError) and not failures.may_pass(error)
    return True


def first_channel(guild: discord.Guild) -> discord.TextChannel | None:
    """Where Discord itself greets people, or else the first channel that the bot may write in."""
    system = guild.system_channel
    for channel in (*([system] if system is not None else []), *guild.text_channels):
        granted = channel.permissions_for(guild.me)
        if granted.view_channel and granted.send_messages:
            return channel
    return None
