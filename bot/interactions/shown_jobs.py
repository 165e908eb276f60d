"""Which request a message shows."""

import asyncio
from datetime import timedelta
from typing import Final

import discord

from bot.services import Services
from generation.job import Job

YOUNG: Final = timedelta(seconds=30)
PAUSES: Final = (0.05, 0.15, 0.3, 0.5, 0.5)
"""Seconds; in all less than an interaction has until it must be answered."""


async def shown_by(
    services: Services, message_id: int, *, ours: bool
) -> tuple[Job, int | None] | None:
    """The job of a message, and the picture where the message is of one alone.

    A message is on Discord a moment before it is in the database: one that is `ours`, the bot's,
    and so young is waited for.
    """
    found = await services.store.jobs.shown_by(message_id)
    posted = discord.utils.snowflake_time(message_id)
    if found is not None or not ours or posted < services.clock.now() - YOUNG:
        return found
    for pause in PAUSES:
        await asyncio.sleep(pause)
        found = await services.store.jobs.shown_by(message_id)
        if found is not None:
            break
    return found
