"""What the bot shows of itself in the list of members: how many wait, and which model draws."""

import asyncio
from typing import Final

import discord
import structlog

from bot.locales import Texts
from bot.services import Client
from generation.worker_pool import WorkerPool

log = structlog.get_logger(__name__)

EVERY: Final = 15.0
"""Seconds between changes; Discord takes five in twenty seconds."""
SHOWN_MAX: Final = 128
"""Characters of a status."""


async def show_presence(client: Client, workers: WorkerPool) -> None:
    """Show it for ever, when it changes. It is for all servers, so in English."""
    texts, shown = Texts("en-US"), ""
    await client.wait_until_ready()
    while True:
        said = presence(workers, texts)
        if said != shown and client.online:
            try:
                await client.change_presence(activity=discord.CustomActivity(said))
                shown = said
            except (discord.DiscordException, OSError) as error:
                log.info("presence not shown", error=str(error))
        await asyncio.sleep(EVERY)


def presence(workers: WorkerPool, texts: Texts) -> str:
    """In words."""
    models = dict.fromkeys(worker.loaded for worker in workers.workers if worker.loaded)
    parts = [texts("presence_waiting", count=workers.waiting)] if workers.waiting else []
    if workers.paused:
        return " · ".join([texts("presence_paused"), *parts])
    if not models and not parts and not workers.running:
        parts.append(texts("presence_idle"))
    return " · ".join([*parts, *models])[:SHOWN_MAX] or texts("presence_drawing")
