"""`/pause` and `/resume`: whether anything is drawn, for the bot's owner."""

from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, reply_privately, responding
from bot.services import Services
from generation.refusal import Refused


def pause(services: Services) -> Command:
    """Nothing that waits is drawn until further notice."""

    async def pause(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            if services.pausing.paused:
                raise Refused("paused_already")
            services.pausing.turn(True)
            count = len(services.workers.running)
            said = caller.texts("paused_now", count=count) if count else caller.texts("paused_idle")
            await reply_privately(interaction, said)

    return slash_command("pause", "Draw nothing more until /resume, for the bot's owner", pause)


def resume(services: Services) -> Command:
    """Draw again."""

    async def resume(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            if not services.pausing.paused:
                raise Refused("not_paused")
            waiting = await services.store.jobs.waiting_ids()
            services.pausing.turn(False)
            said = caller.texts("resumed_now", count=len(waiting))
            await reply_privately(interaction, said)

    return slash_command("resume", "Draw again, for the bot's owner", resume)
