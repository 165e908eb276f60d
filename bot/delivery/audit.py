"""The audit channel of a server: what was asked for, what came of it, what was refused, and what
the bot can't do there.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import discord
import structlog

from bot.access.caller import Caller, Person, Place
from bot.background import BackgroundTasks
from bot.delivery.failures import RETRIES, SENDING_ERRORS, closes_the_way, may_pass
from bot.locales import Texts
from bot.ui.formatting import cut, one_line, quoted, sentence
from bot.ui.job_embeds import failure, subject
from generation.job import Job, JobState
from generation.messages import JobEvent
from generation.refusal import Refused
from generation.worker_pool import WorkerPool
from storage.errors import DatabaseError
from storage.grids import Grid
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)

CLOSING_SECONDS: Final = 5.0
LINES_MAX: Final = 1000
"""Lines that wait for Discord, all servers together."""


Params = Mapping[str, str]
"""What a sentence names."""


class Audit:
    """Posts to the audit channels that servers have chosen.

    What may pass is tried again; a channel that is gone or closed is remembered, to be shown beside
    the setting. So is what the bot can't do in other channels.
    """

    def __init__(
        self,
        client: discord.Client,
        settings: SettingsStore,
        workers: WorkerPool,
        process: str = "",
    ) -> None:
        self._client = client
        self._process = process
        self._settings = settings
        self._tasks = BackgroundTasks()
        self._closing = asyncio.Event()
        self._closed: set[tuple[int, int]] = set()
        """Servers, and their channels that can't be written to."""
        self._lost: Counter[int] = Counter()
        """Lines of each server that could not be posted."""
        self._troubles: dict[int, dict[tuple[int, str], Params]] = {}
        """By server: the channels, the keys of the sentences and what they are about."""
        workers.listen(self._hear)

    def refused(self, caller: Caller, prompt: str | None, refused: Refused) -> None:
        """Note that somebody's request was refused for its words, which nobody is to read of a
        private one.
        """
        if caller.place.guild_id is not None:
            texts = Texts(caller.guild.language or "en-US")
            text = refused_line(caller.person, caller.place, prompt, refused, texts)
            guild_id = caller.place.guild_id
            self._spawn(guild_id, self._post(guild_id, lambda _: text))

    def grid(self, job: Job, grid: Grid, pictures: int) -> None:
        """Note that a grid is drawn, one of whose jobs that is."""
        if job.origin.guild_id is not None:
            guild_id = job.origin.guild_id
            self._spawn(
                guild_id, self._post(guild_id, lambda texts: grid_line(job, grid, pictures, texts))
            )

    def untold(self, job: Job) -> None:
        """Note that the end of a job could be shown to nobody."""
        if job.origin.guild_id is not None:
            guild_id = job.origin.guild_id
            self._spawn(guild_id, self._post(guild_id, lambda texts: untold_line(job, texts)))

    def cannot(self, guild_id: int | None, channel_id: int, trouble: str, **params: str) -> None:
        """Note what can't be done in a channel: once, until `can` says that it can be again.

        `trouble` is the key of the sentence, which says what to change.
        """
        troubles = self._troubles.setdefault(guild_id, {}) if guild_id is not None else None
        if guild_id is None or troubles is None or (channel_id, trouble) in troubles:
            return
        params = {"where": f"<#{channel_id}>", **params}
        troubles[channel_id, trouble] = params
        self._spawn(guild_id, self._post(guild_id, lambda texts: texts(trouble, **params)))

    def can(self, guild_id: int | None, channel_id: int, *troubles: str) -> None:
        """Note that it can be done in a channel."""
        if guild_id in self._troubles:
            for trouble in troubles:
                self._troubles[guild_id].pop((channel_id, trouble), None)

    def troubles(self, guild_id: int) -> list[tuple[str, Params]]:
        """What can't be done in the channels that a server has: the sentences' keys and params."""
        guild = self._client.get_guild(guild_id)
        return [
            (trouble, params)
            for (channel_id, trouble), params in self._troubles.get(guild_id, {}).items()
            if guild is not None and guild.get_channel_or_thread(channel_id) is not None
        ]

    def is_closed(self, guild_id: int, channel_id: int) -> bool:
        """Whether a channel could not be written to when that was tried last."""
        return (guild_id, channel_id) in self._closed

    def lost(self, guild_id: int) -> int:
        """How many lines of a server could not be posted since the start."""
        return self._lost[guild_id]

    async def close(self) -> None:
        """Post what is about to be posted, and stop."""
        self._closing.set()
        await self._tasks.close(CLOSING_SECONDS)

    def _hear(self, job: Job, _event: JobEvent | None) -> None:
        # of a grid there is one line for all of its jobs
        ours = job.process == self._process
        if ours and job.ended and job.origin.guild_id is not None and job.grid is None:
            guild_id = job.origin.guild_id
            self._spawn(guild_id, self._post(guild_id, lambda texts: job_line(job, texts)))

    def _spawn(self, guild_id: int, posting: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) < LINES_MAX:
            self._tasks.spawn(posting)
        else:
            posting.close()
            log.warning("an audit channel's line is left out", waiting=LINES_MAX)
            self._lost[guild_id] += 1

    async def _post(self, guild_id: int, line: Callable[[Texts], str]) -> None:
        """Post a line, written in the server's language, where a channel is chosen for it."""
        nonce = secrets.token_hex(12)  # with it a line whose answer was lost is not posted twice
        for wait in RETRIES:
            channel_id = None
            try:
                settings = await self._settings.guild(guild_id)
                channel_id = settings.audit_channel
                if channel_id is None:
                    return
                channel = self._client.get_partial_messageable(channel_id, guild_id=guild_id)
                text = line(Texts(settings.language or "en-US"))
                await channel.send(cut(text), nonce=nonce)
            except (*SENDING_ERRORS, DatabaseError) as error:
                if channel_id is not None and not may_pass(error):
                    self._refused(guild_id, channel_id, error)
                    return
                log.info("an audit line is tried again", guild=guild_id, seconds=wait)
                await self._pause(wait)
                if self._closing.is_set():
                    break
            except Exception:
                log.exception("an audit line can't be written", guild=guild_id)
                break
            else:
                self._closed.discard((guild_id, channel_id))
                return
        log.warning("an audit line is lost", guild=guild_id)
        self._lost[guild_id] += 1

    def _refused(self, guild_id: int, channel_id: int, error: Exception) -> None:
        log.warning("audit channel can't be written", guild=guild_id, error=str(error))
        if isinstance(error, discord.HTTPException) and closes_the_way(error):
            self._closed.add((guild_id, channel_id))
        else:
            self._lost[guild_id] += 1

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def job_line(job: Job, texts: Texts) -> str:
    """One line on a job that has ended, for moderators: of a private one, that it has."""
    private = job.origin.private
    where = f"<#{job.origin.channel_id}>" if job.origin.channel_id else ""
    outcome = texts("audit_finished", count=len(job.pictures))
    if job.state is not JobState.FINISHED:
        # the reason may name what was asked for
        ended = "audit_cancelled" if job.state is JobState.CANCELLED else "audit_failed"
        outcome = texts(ended) if private else failure(job, texts)
    return texts(
        "audit_job",
        job=job.id,
        who=f"<@{job.origin.user_id}>",
        where=where,
        prompt=_words(None if private else subject(job, texts), texts),
        outcome=outcome,
    )


def grid_line(job: Job, grid: Grid, pictures: int, texts: Texts) -> str:
    """One line on a grid that is drawn: of a private one, that it is."""
    where = f"<#{job.origin.channel_id}>" if job.origin.channel_id else ""
    return texts(
        "audit_job",
        job=job.id,
        who=f"<@{job.origin.user_id}>",
        where=where,
        prompt=_words(None if job.origin.private else grid.plan.prompt, texts),
        outcome=texts("audit_finished", count=pictures),
    )


def untold_line(job: Job, texts: Texts) -> str:
    """One line on a job of whose end nobody could be told."""
    where = f"<#{job.origin.channel_id}>" if job.origin.channel_id else ""
    return texts("audit_untold", job=job.id, who=f"<@{job.origin.user_id}>", where=where)


def refused_line(
    person: Person, place: Place, prompt: str | None, refused: Refused, texts: Texts
) -> str:
    """One line on a request that was refused, for moderators."""
    return texts(
        "audit_refused",
        who=f"<@{person.id}>",
        where=f"<#{place.channel_id}>",
        prompt=_words(prompt, texts),
        outcome=sentence(texts, refused.code, refused.params),
    )


def _words(prompt: str | None, texts: Texts) -> str:
    return texts("audit_private") if prompt is None else quoted(one_line(prompt), 500)
