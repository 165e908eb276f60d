"""`/imagine`: a request from its options."""

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot import policy
from bot.answering import answering, origin_of
from bot.locales import Texts
from bot.options import with_options
from bot.uploads import read_attachment

if TYPE_CHECKING:
    from bot.client import DarkroomClient


def command(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command, with its options read off the request's fields."""

    async def imagine(
        interaction: discord.Interaction[Any], *, private: bool = False, **values: Any
    ) -> None:
        async with answering(interaction):
            given = {name: value for name, value in values.items() if value is not None}
            await _imagine(client, interaction, given, private)

    return app_commands.Command[Any, ..., None](
        name=locale_str("imagine", key="command_imagine"),
        description=locale_str("Draw pictures of what you describe", key="command_imagine_help"),
        callback=with_options(imagine, client.desk.catalog, client.desk.rules),
        allowed_contexts=app_commands.AppCommandContext(
            guild=True, dm_channel=True, private_channel=True
        ),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
    )


async def _imagine(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    given: dict[str, Any],
    private: bool,
) -> None:
    if interaction.is_guild_integration() and interaction.guild_id is not None and not private:
        policy.check_permissions(
            interaction.app_permissions,
            Texts(str(interaction.locale)),
            thread=isinstance(interaction.channel, discord.Thread),
        )
    limits = client.desk.rules.limits
    uploads = {n: v for n, v in given.items() if isinstance(v, discord.Attachment)}
    if uploads:
        # fetching may take longer than the three seconds that Discord waits
        await interaction.response.defer(thinking=True, ephemeral=private)
    for name, attachment in uploads.items():
        given[name] = await client.desk.jobs.keep_upload(await read_attachment(attachment, limits))
    job = await client.desk.ask(given, origin_of(interaction, private=private))
    if not uploads:
        # written down first, then acknowledged
        await interaction.response.defer(thinking=True, ephemeral=private)
    client.delivery.watch(job)
