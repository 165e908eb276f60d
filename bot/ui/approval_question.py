"""What a moderator is asked of pictures that are held until one has seen them."""

from typing import Any, Final

import discord

from bot.locales import Texts
from bot.ui.formatting import COLOUR, quoted
from bot.ui.job_embeds import subject
from bot.ui.persistent_items import StatelessView
from generation.job import Job
from storage.approvals import Approval

PROMPT_MAX: Final = 1500
CUSTOM_ID: Final = "darkroom:approval:{verdict}:{job}"
"""Of its buttons; told by its four parts from those of actions, which show a job."""


def embed(job: Job, texts: Texts, shown_in: tuple[int, int] | None) -> discord.Embed:
    """Who has asked for what, and where; `shown_in` are the channel and the message."""
    where = f"<#{job.origin.channel_id}>" if job.origin.channel_id else ""
    if shown_in is not None:
        channel, message = shown_in
        where = f"https://discord.com/channels/{job.origin.guild_id}/{channel}/{message}"
    asked = texts("approval_asked", job=job.id, who=f"<@{job.origin.user_id}>", where=where)
    prompt = quoted(subject(job, texts), PROMPT_MAX)
    return discord.Embed(description=f"{asked}\n\n{prompt}", colour=COLOUR)


def buttons(job_id: int, texts: Texts) -> discord.ui.View:
    """To approve and to deny."""
    view = StatelessView()
    for verdict, style in (
        ("approved", discord.ButtonStyle.success),
        ("denied", discord.ButtonStyle.danger),
    ):
        button: discord.ui.Button[Any] = discord.ui.Button(
            style=style,
            label=texts(f"button_{verdict}"),
            custom_id=CUSTOM_ID.format(verdict=verdict, job=job_id),
        )
        view.add_item(button)
    return view


def asks(message: discord.Message, job_id: int) -> bool:
    """Whether a message is the question about a job."""
    wanted = CUSTOM_ID.format(verdict="approved", job=job_id)
    rows = (row for row in message.components if isinstance(row, discord.ActionRow))
    return any(getattr(item, "custom_id", "") == wanted for row in rows for item in row.children)


def answered(approval: Approval, texts: Texts) -> str:
    """What was decided, and by whom."""
    return texts(
        f"approval_{approval.verdict}", job=approval.job_id, who=f"<@{approval.decided_by}>"
    )
