"""The audit channel of a server: what was asked for, what came of it, and what was refused."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import discord
import structlog

from bot import overviews
from bot.answering import NO_MENTIONS
from bot.locales import Texts
from bot.visits import Visit
from generation.job import Job
from generation.messages import JobEvent
from generation.refusal import Refused
from generation.worker import Worker
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)

CLOSING_SECONDS: Final = 5.0


class Audit:
    """Posts to the audit channels that servers have chosen. What can't be posted is logged."""

    def __init__(self, client: discord.Client, settings: SettingsStore, worker: Worker) -> None:
        self._client = client
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        worker.listen(self._hear)

    def refused(self, visit: Visit, prompt: str, refused: Refused) -> None:
        """Note that somebody's request was refused for its words."""
        if visit.place.guild_id is not None:
            texts = Texts(visit.guild.language or "en-US")
            text = overviews.audit_refused(visit.person, visit.place, prompt, refused, texts)
            self._spawn(self._post(visit.place.guild_id, text))

    async def close(self) -> None:
        """Post what is about to be posted, and stop."""
        if not self._tasks:
            return
        _, stuck = await asyncio.wait(self._tasks, timeout=CLOSING_SECONDS)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    def _hear(self, job: Job, _event: JobEvent | None) -> None:
        if job.ended and job.origin.guild_id is not None:
            self._spawn(self._job(job, job.origin.guild_id))

    async def _job(self, job: Job, guild_id: int) -> None:
        settings = await self._settings.guild(guild_id)
        texts = Texts(settings.language or "en-US")
        await self._post(guild_id, overviews.audit(job, texts))

    async def _post(self, guild_id: int, text: str) -> None:
        channel_id = (await self._settings.guild(guild_id)).audit_channel
        if channel_id is None:
            return
        channel = self._client.get_partial_messageable(channel_id, guild_id=guild_id)
        try:
            await channel.send(text[:2000], allowed_mentions=NO_MENTIONS)
        except discord.HTTPException as error:
            log.warning("audit channel can't be written", guild=guild_id, code=error.code)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
