"""`/imagine`: a request from its options."""

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.answering import answering, think
from bot.commands import preset
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.options import with_options
from bot.uploads import read_attachment
from bot.visits import Visit, interaction_of
from generation import prompt_flags

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def command(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command, with its options read off the request's fields."""

    async def imagine(interaction: discord.Interaction[Any], **values: Any) -> None:
        async with answering(interaction) as visit:
            given = {name: value for name, value in values.items() if value is not None}
            await _imagine(client, interaction, visit, given)

    async def complete_preset(
        interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        return await preset.choices(client, interaction, typed)

    return app_commands.Command[Any, ..., None](
        name=locale_str("imagine", key="command_imagine"),
        description=locale_str("Draw pictures of what you describe", key="command_imagine_help"),
        callback=with_options(
            imagine,
            client.desk.catalog,
            client.desk.rules,
            complete_preset,
        ),
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


async def _imagine(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    given: dict[str, Any],
) -> None:
    parsed = prompt_flags.parse(str(given["prompt"]))
    given = prompt_flags.merge(parsed, given)
    private = bool(given.pop("private", visit.own.private))
    preset_name: str | None = given.pop("preset", None)
    client.check_permissions(interaction, visit, private=private)
    limits = client.desk.rules.limits
    uploads = {n: v for n, v in given.items() if isinstance(v, discord.Attachment)}
    if uploads:
        await client.desk.check_asking(visit)
        # fetching may take longer than the three seconds that Discord waits
        await think(interaction, private=private)
    for name, attachment in uploads.items():
        given[name] = await client.desk.jobs.keep_upload(await read_attachment(attachment, limits))
    origin = visit.origin(private=private, interaction=interaction_of(interaction))
    # written down first, then acknowledged
    await client.acknowledge(interaction, await client.desk.ask(given, visit, origin, preset_name))
