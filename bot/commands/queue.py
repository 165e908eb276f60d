"""`/queue` and `/cancel`: what waits, and one's own among it."""

from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot import overviews
from bot.answering import NO_MENTIONS, answering, say
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.policy import check_control
from generation.job import Job
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

PROMPT_MAX: Final = 70


def queue(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """What is being made and what waits, with one's own requests named."""

    async def queue(interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction) as visit:
            plan = await client.desk.worker.plan()
            embed = overviews.queue(client.desk.worker.current, plan, visit.person.id, visit.texts)
            await interaction.response.send_message(
                embed=embed, ephemeral=True, allowed_mentions=NO_MENTIONS
            )

    return app_commands.Command[Any, ..., None](
        name=locale_str("queue", key="command_queue"),
        description=locale_str(
            "What waits to be drawn, and for how long", key="command_queue_help"
        ),
        callback=queue,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


def cancel(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """Cancel one request, or all of one's own."""

    async def cancel(interaction: discord.Interaction[Any], job: int | None = None) -> None:
        async with answering(interaction) as visit:
            if job is not None:
                found = await client.desk.jobs.get(job)
                if found is None:
                    raise Refused("job_number_unknown", job=job)
                check_control(found, visit.person, visit.place)
                await client.desk.cancel(found)
                await say(interaction, visit.texts("cancelled_job", job=job))
                return
            own = await _own(client, visit.person.id)
            if not own:
                raise Refused("nothing_to_cancel")
            for found in own:
                await client.desk.cancel(found)
            await say(interaction, visit.texts("cancelled_jobs", count=len(own)))

    async def complete(interaction: discord.Interaction[Any], typed: str) -> list[Choice[int]]:
        own = await _own(client, interaction.user.id)
        return [
            Choice(name=f"#{job.id} {job.request.prompt}"[:100], value=job.id)
            for job in own
            if str(typed).lstrip("#") in str(job.id)
        ][:25]

    described = app_commands.describe(
        job=locale_str("the number of a request; all of yours if left out", key="option_job_help")
    )
    completed = app_commands.autocomplete(job=complete)
    return app_commands.Command[Any, ..., None](
        name=locale_str("cancel", key="command_cancel"),
        description=locale_str("Cancel what you asked for", key="command_cancel_help"),
        callback=described(completed(cancel)),
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


async def _own(client: "DarkroomClient", user_id: int) -> list[Job]:
    """Somebody's jobs that wait or run."""
    waiting = [job for job in await client.desk.jobs.waiting() if job.origin.user_id == user_id]
    running = client.desk.worker.current
    if running is not None and running.origin.user_id == user_id:
        return [running, *waiting]
    return waiting
