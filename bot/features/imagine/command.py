"""`/imagine`: a request from its options."""

from typing import Any

import discord
from discord import app_commands

from bot.access.caller import Caller
from bot.features.imagine.options import with_options
from bot.interactions.autocomplete import preset_choices
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer, responding
from bot.pictures.uploads import read_attachment
from bot.services import Services
from bot.ui.job_embeds import keys_ignored
from generation import prompt_flags


def command(services: Services) -> Command:
    """The command, with its options read off the request's fields."""

    async def imagine(interaction: Interaction, **values: Any) -> None:
        async with responding(interaction) as caller:
            given = {name: value for name, value in values.items() if value is not None}
            await _imagine(services, interaction, caller, given)

    async def complete_preset(
        interaction: Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        return await preset_choices(services, interaction, typed)

    callback = with_options(
        imagine,
        services.catalog,
        services.requests.rules,
        complete_preset,
    )
    return slash_command("imagine", "Draw pictures of what you describe", callback)


async def _imagine(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    given: dict[str, Any],
) -> None:
    parsed = prompt_flags.parse(str(given["prompt"]))
    given = prompt_flags.merge(parsed, given)
    private = bool(given.pop("private", caller.own.private))
    preset_name: str | None = given.pop("preset", None)
    check_can_post(interaction, caller, private=private)
    limits = services.requests.rules.limits
    uploads = {n: v for n, v in given.items() if isinstance(v, discord.Attachment)}
    if uploads:
        await services.requests.check_asking(caller)
        # fetching may take longer than the three seconds that Discord waits
        await defer(interaction, private=private)
    for name, attachment in uploads.items():
        content = await read_attachment(attachment, caller.person.id, services.decoder, limits)
        given[name] = await services.store.jobs.keep_upload(content)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    # written down first, then acknowledged
    job = await services.requests.ask(given, caller, origin, preset_name)
    await acknowledge(interaction, job, keys_ignored(parsed.ignored, caller.texts))
