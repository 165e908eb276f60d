"""`/replay`: the same request to the last bit, from its number."""

from discord import app_commands
from discord.app_commands import locale_str

from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.responding import Interaction, acknowledge, check_can_post, responding
from bot.interactions.sight import job_by_number
from bot.services import Services


def command(services: Services) -> Command:
    """The command; what has changed since is said with the result."""

    async def replay(interaction: Interaction, job: int) -> None:
        async with responding(interaction) as caller:
            found = await job_by_number(services, interaction, caller, "/replay", job)
            typing(interaction, found)
            private = caller.answers_privately(found)
            check_can_post(interaction, caller, private=private)
            origin = caller.origin(private=private, interaction=token_of(interaction))
            await acknowledge(interaction, await services.requests.replay(found, caller, origin))

    described = app_commands.describe(
        job=locale_str("the number under the picture", key="option_replay_help")
    )
    return slash_command("replay", "Draw a picture again, exactly", described(replay))
