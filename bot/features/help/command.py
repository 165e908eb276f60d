"""`/help`: a short page, for the eyes of who asks."""

from bot.features.help import page
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, responding
from bot.services import Services


def command(services: Services) -> Command:
    """The command."""

    async def help_(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            client = interaction.client
            prompts = page.examples(services.catalog, services.requests.rules)
            embed = page.page(
                client.tree.get_commands(),
                prompts,
                client.command_ids,
                caller.texts,
                services.discord.help_link,
            )
            await interaction.response.send_message(embed=embed, ephemeral=True)

    return slash_command("help", "What this bot does and how it is used", help_)
