"""*More…*: what is rarely pressed of what a message offers, privately, as buttons like others."""

import contextlib

from bot.interactions.responding import AnsweredError, Interaction, responding
from bot.interactions.sight import at_component
from bot.ui import action_buttons
from generation.refusal import Refused


async def on_more(interaction: Interaction, job_id: int, index: int | None) -> None:
    """Show whoever pressed the rest of the buttons."""
    services = interaction.client.services
    with contextlib.suppress(AnsweredError):
        async with responding(interaction) as caller:
            job = await services.store.jobs.get(job_id)
            if job is None:
                raise Refused("job_unknown")
            there = await at_component(interaction, caller, job)
            await services.requests.check("more", caller, job, there)
            accepts = services.requests.remaking.accepts
            view = action_buttons.rare_view(job, caller.texts, accepts, index)
            if not view.children:
                raise Refused("more_nothing")
            said = caller.texts("more_about", job=job.id)
            await interaction.response.send_message(said, view=view, ephemeral=True)
