"""How entries of a history read."""

from collections.abc import Collection, Sequence
from typing import Final

import discord

from bot.locales import Texts
from bot.ui.formatting import cut_lines, one_line, quoted
from bot.ui.job_embeds import subject
from generation.job import Job

PROMPT_MAX: Final = 80


def entry(job: Job, texts: Texts) -> str:
    """One entry of a history."""
    request = job.request
    when = discord.utils.format_dt(job.created_at, "R")
    prompt = quoted(one_line(subject(job, texts)), PROMPT_MAX * 2)
    about = texts(
        "history_entry",
        job=job.id,
        model=quoted(request.made_with, PROMPT_MAX),
        seed=request.seed,
        when=when,
    )
    if job.preset is not None:
        about += f" · {quoted(job.preset.name, PROMPT_MAX)}"
    return f"**{prompt}**\n-# {about}"


def tree(
    relatives: Sequence[tuple[int, Job]], job_id: int, readable: Collection[int], texts: Texts
) -> str:
    """A family of pictures, each under the one that it was made from.

    Of those that are not `readable`, by number, is not even said that there are any: what was made
    from one stands below the nearest that is.
    """
    lines, above = [], list[int]()
    for depth, job in relatives:
        while above and above[-1] >= depth:
            above.pop()
        if job.id not in readable:
            continue
        mark = "➤ " if job.id == job_id else ""
        prompt = quoted(one_line(subject(job, texts)), PROMPT_MAX)
        action = texts(f"action_{job.action}")
        indent = "\u2003" * min(len(above), 12)
        above.append(depth)
        lines.append(f"{indent}{mark}**#{job.id}** {action} · {prompt}")
    return cut_lines("\n".join(lines), 1990)
