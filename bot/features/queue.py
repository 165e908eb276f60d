"""`/queue` and `/cancel`: what waits, and one's own among it."""

from collections.abc import Mapping, Sequence
from typing import Final

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.interactions.autocomplete import quiet
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, reply_privately, responding
from bot.interactions.sight import job_by_number
from bot.locales import Texts
from bot.services import Services
from bot.ui.formatting import COLOUR, cut_lines, duration, one_line, quoted
from bot.ui.job_embeds import subject
from generation.job import Job
from generation.refusal import Refused
from generation.schedule import Planned
from generation.worker_pool import NOBODY, Awaited

SHOWN: Final = 10
"""Entries of the list; the rest are counted."""
PROMPT_MAX: Final = 80


def queue(services: Services) -> Command:
    """What is being made and what waits, with one's own requests named."""

    async def queue(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            workers, user_id = services.workers, caller.person.id
            plan = await workers.plan(first=SHOWN, user_id=user_id)
            running = {one.name: one.current for one in workers.workers if one.current is not None}
            if workers.others:
                running.update(await services.store.leases.drawn_elsewhere())
            several = len(workers.workers) + len(workers.others) > 1
            awaited = {one.job.id: workers.awaits(one.job) for one in plan}
            embed = _embed(
                *(running, plan, awaited, workers.waiting, user_id, caller.texts),
                name_workers=several,
                paused=workers.paused,
            )
            await interaction.response.send_message(embed=embed, ephemeral=True)

    return slash_command("queue", "What waits to be drawn, and for how long", queue)


def cancel(services: Services) -> Command:
    """Cancel one request, or all of one's own."""

    async def cancel(interaction: Interaction, job: int | None = None) -> None:
        async with responding(interaction) as caller:
            if job is not None:
                found = await job_by_number(services, interaction, caller, "/cancel job", job)
                await services.requests.made.cancel(found)
                await reply_privately(interaction, caller.texts("cancelled_job", job=job))
                return
            own = await _own(services, caller.person.id)
            if not own:
                raise Refused("nothing_to_cancel")
            for found in own:
                await services.requests.made.cancel(found)
            await reply_privately(interaction, caller.texts("cancelled_jobs", count=len(own)))

    async def complete(interaction: Interaction, typed: str) -> list[Choice[int]]:
        own = await _own(services, interaction.user.id)
        texts = Texts(str(interaction.locale))
        return [
            Choice(name=f"#{job.id} {subject(job, texts)}"[:100], value=job.id)
            for job in own
            if str(typed).lstrip("#") in str(job.id)
        ][:25]

    described = app_commands.describe(
        job=locale_str("the number of a request; all of yours if left out", key="option_job_help")
    )
    completed = app_commands.autocomplete(job=quiet(complete))
    return slash_command("cancel", "Cancel what you asked for", described(completed(cancel)))


async def _own(services: Services, user_id: int) -> list[Job]:
    """Somebody's jobs that wait or run."""
    waiting = [job for job in await services.store.jobs.waiting() if job.origin.user_id == user_id]
    return [*await services.store.jobs.running_of(user_id), *waiting]


def _embed(
    running: Mapping[str, Job],
    plan: Sequence[Planned],
    awaited: Mapping[int, Awaited],
    waiting: int,
    user_id: int,
    texts: Texts,
    *,
    name_workers: bool = False,
    paused: bool = False,
) -> discord.Embed:
    """What is being made, what comes next of all that waits, and where one's own stand. Others'
    prompts stay theirs.
    """
    lines = []
    for worker, drawn in running.items():
        job = _named(drawn, user_id, texts)
        if name_workers:
            lines.append(texts("queue_running_on", job=job, worker=quoted(worker, PROMPT_MAX)))
        else:
            lines.append(texts("queue_running", job=job))
    if paused:
        lines.insert(0, texts("queue_is_paused"))
    for planned in plan:
        left = duration(planned.seconds_until_done, texts)
        job = _named(planned.job, user_id, texts)
        names = awaited.get(planned.job.id, NOBODY).names
        if names:
            named = quoted(", ".join(names), PROMPT_MAX)
            lines.append(texts("queue_line_awaits", place=planned.place + 1, job=job, names=named))
            continue
        lines.append(texts("queue_line", place=planned.place + 1, job=job, left=left))
    hidden = waiting - len(plan)
    if hidden > 0:
        lines.append(texts("queue_more", count=hidden))
    text = "\n".join(lines) or texts("queue_empty")
    return discord.Embed(title=texts("queue_title"), description=cut_lines(text), colour=COLOUR)


def _named(job: Job, user_id: int, texts: Texts) -> str:
    if job.origin.user_id == user_id:
        return f"**#{job.id}** {quoted(one_line(subject(job, texts)), PROMPT_MAX)}"
    return texts("queue_someone", model=quoted(job.request.made_with, PROMPT_MAX))
