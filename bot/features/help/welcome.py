"""A few words in a server where the bot is new, once a server."""

from datetime import timedelta
from typing import Final

import discord
import structlog

from bot.delivery.failures import SENDING_ERRORS
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
    try:
        language = (await services.store.settings.guild(guild.id)).language
        if not await services.store.settings.notice(guild.id, "welcome"):
            return
        prompts = page.examples(services.catalog, services.requests.rules)
        texts = Texts(language or str(guild.preferred_locale))
        text = page.welcome(prompts, client.command_ids, texts)
        await channel.send(text, nonce=f"w{guild.id}")
    except (*SENDING_ERRORS, DatabaseError) as error:
        log.info("no welcome", guild=guild.id, error=str(error))


def first_channel(guild: discord.Guild) -> discord.TextChannel | None:
    """Where Discord itself greets people, or else the first channel that the bot may write in."""
    system = guild.system_channel
    for channel in (*([system] if system is not None else []), *guild.text_channels):
        granted = channel.permissions_for(guild.me)
        if granted.view_channel and granted.send_messages:
            return channel
    return None
