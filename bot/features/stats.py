"""`/stats`: how the bot does, for its owner."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import discord
import msgspec
import psutil

from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, answer, defer, responding
from bot.locales import Texts
from bot.services import Services
from bot.ui.formatting import COLOUR, cut_lines, duration, fitted, quoted
from generation.elsewhere import WorkerStatus, status_of
from generation.job import JobState
from generation.messages import Ready
from storage.statistics import Statistics

SHOWN: Final = 10
"""Models of the list of times."""
NAME_MAX: Final = 80
FIELD_MAX: Final = 1000


def command(services: Services) -> Command:
    """The command. Discord says who owns the application."""

    async def stats(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            await defer(interaction, private=True)
            day_ago = services.clock.now() - timedelta(days=1)
            found = await services.store.statistics.since(day_ago)
            waiting = len(await services.store.jobs.waiting())
            embed = embed_of(
                found,
                waiting=waiting,
                workers=await _workers(services, caller.texts),
                ready=services.workers.ready,
                memory=_memory(),
                since=interaction.client.started_at,
                texts=caller.texts,
            )
            await answer(interaction, embed=embed)

    return slash_command("stats", "How the bot does, for its owner", stats)


async def _workers(services: Services, texts: Texts) -> list[str]:
    """Each worker in a line, also those of other processes: on what, which model it has loaded, and
    how long it is busy; and where workers on other hosts are met.
    """
    lines = []
    if services.fleet is not None:
        key = "stats_nats" if services.fleet.connected else "stats_nats_away"
        lines.append(texts(key, url=quoted(services.fleet.shown, NAME_MAX)))
    for worker in services.workers.workers:
        lines.append(_line(await status_of(worker), texts))
    for other in services.workers.others:
        now = msgspec.structs.replace(other.status, seconds_left=other.seconds_left)
        lines.append(_line(now, texts))
    return lines


def _line(worker: WorkerStatus, texts: Texts) -> str:
    left = texts("stats_resting")
    if worker.job is not None:
        left = texts("stats_left", left=duration(worker.seconds_left, texts))
    return texts(
        "stats_worker",
        worker=quoted(worker.name, NAME_MAX),
        device=quoted(worker.device, NAME_MAX) or "—",
        model=quoted(worker.model, NAME_MAX) or "—",
        left=left,
    )


def _memory() -> tuple[int, int]:
    """Bytes of this process, and of the processes that it has started."""
    own = psutil.Process()
    children = 0
    for child in own.children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
    return own.memory_info().rss, children


def embed_of(
    found: Statistics,
    *,
    waiting: int,
    workers: Sequence[str],
    ready: Ready | None,
    memory: tuple[int, int],
    since: datetime,
    texts: Texts,
) -> discord.Embed:
    """Jobs, times and memory, for the owner."""
    embed = discord.Embed(title=texts("stats_title"), colour=COLOUR)

    def counted(states: Mapping[JobState, int]) -> str:
        names = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        return texts("stats_jobs", **{state.value: states.get(state, 0) for state in names})

    embed.add_field(name=texts("stats_day"), value=counted(found.recent))
    embed.add_field(name=texts("stats_total"), value=counted(found.total))
    embed.add_field(name=texts("queue_title"), value=texts("stats_waiting", count=waiting))
    lines = [
        texts(
            "stats_model",
            model=quoted(times.model, NAME_MAX),
            median=round(times.median, 1),
            p95=round(times.p95, 1),
            count=times.pictures,
        )
        for times in found.times[:SHOWN]
    ]
    times = cut_lines("\n".join(lines), FIELD_MAX) or "—"
    embed.add_field(name=texts("stats_times"), value=times, inline=False)
    own, children = memory
    device = "—" if ready is None else f"{quoted(ready.device_name, NAME_MAX)} ({ready.precision})"
    text = texts(
        "stats_memory",
        bot=own // 2**20,
        worker=children // 2**20,
        device=device,
    )
    if found.memory_peak:
        text += " · " + texts("stats_memory_peak", peak=found.memory_peak // 2**20)
    embed.add_field(name=texts("stats_machine"), value=text, inline=False)
    up = discord.utils.format_dt(since, "R")
    embed.add_field(name=texts("stats_since"), value=up)
    listed = cut_lines("\n".join(workers), FIELD_MAX) or "—"
    embed.add_field(name=texts("stats_workers"), value=listed, inline=False)
    return fitted(embed)
