"""How entries of a history read."""

from collections.abc import Collection, Sequence
from typing import Final

import discord

from bot.locales import Texts
from bot.ui.formatting import cut_lines, one_line, quoted
from generation.job import Job

PROMPT_MAX: Final = 80


def entry(job: Job, texts: Texts) -> str:
    """One entry of a history."""
    request = job.request
    when = discord.utils.format_dt(job.created_at, "R")
    prompt = quoted(one_line(request.prompt), PROMPT_MAX * 2)
    about = texts(
        "history_entry",
        job=job.id,
        model=quoted(request.model, PROMPT_MAX),
        seed=request.seed,
        when=when,
    )
    if job.preset is not None:
        about += f" · {quoted(job.preset.name, PROMPT_MAX)}"
    return f"**{prompt}**\n-# {about}"


def tree(
    relatives: Sequence[tuple[int, Job]], job_id: int, readable: Collection[int], texts: Texts
) -> str:
    """A family of pictures, each under the one that it was made from; only of those that are
    `readable`, by number, is said what they show.
    """
    lines = []
    for depth, job in relatives:
        mark = "➤ " if job.id == job_id else ""
        prompt = "…"
        if job.id in readable:
            prompt = quoted(one_line(job.request.prompt), PROMPT_MAX)
        action = texts(f"action_{job.action}")
        indent = "\u2003" * min(depth, 12)
        lines.append(f"{indent}{mark}**#{job.id}** {action} · {prompt}")
    return cut_lines("\n".join(lines), 1990)
