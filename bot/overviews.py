"""What lists show: the queue, a history, a family of pictures, presets, the audit channel."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import discord

from bot.locales import Texts
from bot.policy import Person, Place
from bot.presenter import COLOUR, duration, failure, quoted
from generation.completion import native_size
from generation.families import FAMILIES, RECOGNISED
from generation.job import Job, JobState
from generation.messages import Ready
from generation.models import ModelFile, ModelKind
from generation.preset import Preset
from generation.refusal import Refused
from generation.schedule import Planned
from storage.settings import GuildSettings
from storage.statistics import Statistics

SHOWN: Final = 10
"""Entries of a list; the rest are counted."""
PROMPT_MAX: Final = 80
TEXT_MAX: Final = 3900
FIELD_MAX: Final = 1000
TRIGGERS: Final = 8
"""Trigger words of a LoRA."""


def queue(
    running: Job | None, plan: Sequence[Planned], user_id: int, texts: Texts
) -> discord.Embed:
    """What is being made, what waits, and where one's own stand. Others' prompts stay theirs."""
    lines = []
    if running is not None:
        lines.append(texts("queue_running", job=_named(running, user_id, texts)))
    for place, planned in enumerate(plan, 1):
        own = planned.job.origin.user_id == user_id
        if place <= SHOWN or own:
            left = duration(planned.seconds_until_done, texts)
            lines.append(
                texts("queue_line", place=place, job=_named(planned.job, user_id, texts), left=left)
            )
    hidden = len(plan) - sum(1 for p in plan[SHOWN:] if p.job.origin.user_id == user_id) - SHOWN
    if hidden > 0:
        lines.append(texts("queue_more", count=hidden))
    text = "\n".join(lines) or texts("queue_empty")
    return discord.Embed(title=texts("queue_title"), description=_cut(text), colour=COLOUR)


def _named(job: Job, user_id: int, texts: Texts) -> str:
    if job.origin.user_id == user_id:
        return f"**#{job.id}** {quoted(_line(job.request.prompt), PROMPT_MAX)}"
    return texts("queue_someone", model=quoted(job.request.model, PROMPT_MAX))


def history_entry(job: Job, texts: Texts) -> str:
    """One entry of a history."""
    request = job.request
    when = discord.utils.format_dt(job.created_at, "R")
    prompt = quoted(_line(request.prompt), PROMPT_MAX * 2)
    about = texts(
        "history_entry",
        job=job.id,
        model=quoted(request.model, PROMPT_MAX),
        seed=request.seed,
        when=when,
    )
    return f"**{prompt}**\n-# {about}"


def tree(relatives: Sequence[tuple[int, Job]], job_id: int, user_id: int, texts: Texts) -> str:
    """A family of pictures, each under the one that it was made from."""
    lines = []
    for depth, job in relatives:
        mark = "➤ " if job.id == job_id else ""
        hidden = job.origin.private and job.origin.user_id != user_id
        prompt = "…" if hidden else quoted(_line(job.request.prompt), PROMPT_MAX)
        action = texts(f"action_{job.action}")
        indent = "\u2003" * min(depth, 12)
        lines.append(f"{indent}{mark}**#{job.id}** {action} · {prompt}")
    return _cut("\n".join(lines), 1990)


def presets(found: Sequence[Preset], settings: GuildSettings, texts: Texts) -> discord.Embed:
    """All presets of a server, the defaults marked."""
    lines = []
    for preset in found:
        marks = []
        if preset.name == settings.default_preset:
            marks.append(texts("preset_is_default"))
        marks += [f"<#{c}>" for c, name in settings.channel_presets.items() if name == preset.name]
        marks += [f"<@&{role}>" for role in preset.roles]
        about = preset.description or preset.model or ""
        lines.append(
            " · ".join([f"**{quoted(preset.name, PROMPT_MAX)}**", *marks])
            + (f"\n-# {quoted(_line(about), PROMPT_MAX * 2)}" if about else "")
        )
    text = "\n".join(lines) or texts("presets_none")
    return discord.Embed(title=texts("presets_title"), description=_cut(text), colour=COLOUR)


def audit(job: Job, texts: Texts) -> str:
    """One line on a job that has ended, for moderators."""
    prompt = quoted(_line(job.request.prompt), 500)
    where = f"<#{job.origin.channel_id}>" if job.origin.channel_id else ""
    outcome = texts("audit_finished", count=len(job.pictures))
    if job.state is not JobState.FINISHED:
        outcome = failure(job, texts)
    return texts(
        "audit_job",
        job=job.id,
        who=f"<@{job.origin.user_id}>",
        where=where,
        prompt=prompt,
        outcome=outcome,
    )


def audit_refused(person: Person, place: Place, prompt: str, refused: Refused, texts: Texts) -> str:
    """One line on a request that was refused, for moderators."""
    return texts(
        "audit_refused",
        who=f"<@{person.id}>",
        where=f"<#{place.channel_id}>",
        prompt=quoted(_line(prompt), 500),
        outcome=texts(refused.code, **refused.params),
    )


def model(found: ModelFile, texts: Texts) -> discord.Embed:
    """One checkpoint or LoRA, with what is known of it."""
    family = FAMILIES.get(found.family)
    title = family.title if family else RECOGNISED.get(found.family, found.family)
    about = [title, texts("file_size", mib=f"{found.size / 2**20:,.0f}")]
    if found.kind is ModelKind.CHECKPOINT and family is not None:
        about.insert(1, f"{native_size(found)} px")
    if family is None and found.kind is ModelKind.CHECKPOINT:
        about.append(texts("catalogue_unsupported"))
    lines = [" · ".join(about)]
    if found.trigger_words:
        words = ", ".join(f"`{word}`" for word in found.trigger_words[:TRIGGERS])
        lines.append(texts("catalogue_triggers", words=words.replace("``", "")))
    return discord.Embed(
        title=quoted(found.name, 200), description="\n".join(lines)[:500], colour=COLOUR
    )


def stats(
    found: Statistics,
    *,
    waiting: int,
    loaded: str,
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
            model=quoted(times.model, PROMPT_MAX),
            median=f"{times.median:.1f}",
            p95=f"{times.p95:.1f}",
            count=times.pictures,
        )
        for times in found.times[:SHOWN]
    ]
    times = _cut("\n".join(lines), FIELD_MAX) or "—"
    embed.add_field(name=texts("stats_times"), value=times, inline=False)
    own, children = memory
    device = "—" if ready is None else f"{ready.device_name} ({ready.precision})"
    text = texts(
        "stats_memory",
        bot=own // 2**20,
        worker=children // 2**20,
        device=device,
        peak=found.memory_peak // 2**20,
    )
    embed.add_field(name=texts("stats_machine"), value=text, inline=False)
    up = discord.utils.format_dt(since, "R")
    embed.add_field(name=texts("stats_since"), value=up)
    embed.add_field(name=texts("stats_loaded"), value=quoted(loaded, PROMPT_MAX) or "—")
    return embed


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, limit: int = TEXT_MAX) -> str:
    """Whole lines, as many as fit."""
    if len(text) <= limit:
        return text
    return text[:limit].rsplit("\n", 1)[0] + "\n…"
