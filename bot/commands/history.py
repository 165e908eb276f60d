"""`/history`: one's own pictures, newest first."""

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot import history_view, overviews
from bot.answering import NO_MENTIONS, answering, say, think
from bot.commands import preset
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.options import best
from generation.refusal import Refused
from storage.history import Query

if TYPE_CHECKING:
    from bot.client import DarkroomClient

SEARCH_MAX = 200


def command(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """The command, its filters as options."""

    async def history(
        interaction: discord.Interaction[Any],
        search: app_commands.Range[str, 1, SEARCH_MAX] | None = None,
        model: str | None = None,
        preset: str | None = None,
        favourites: bool = False,
        tree: int | None = None,
    ) -> None:
        async with answering(interaction) as visit:
            if tree is not None:
                await _tree(client, interaction, visit.person.id, tree, visit.texts)
                return
            await think(interaction, private=True)
            query = Query(
                search=search or "",
                model=model or "",
                preset=preset or "",
                favourites=favourites,
            )
            query_id = await client.desk.store.history.keep_query(visit.person.id, query)
            shown = await history_view.page_message(client, visit, query_id)
            await interaction.followup.send(**shown, ephemeral=True, allowed_mentions=NO_MENTIONS)

    async def models(interaction: discord.Interaction[Any], typed: str) -> list[Choice[str]]:
        names = await client.desk.store.history.models(interaction.user.id)
        return [Choice(name=name, value=name) for name in best(names, typed)]

    async def presets(interaction: discord.Interaction[Any], typed: str) -> list[Choice[str]]:
        return await preset.choices(client, interaction, typed)

    described = app_commands.describe(
        search=locale_str("words of the prompt", key="option_search_help"),
        model=locale_str("only pictures of this model", key="option_history_model_help"),
        preset=locale_str("only pictures of this preset", key="option_history_preset_help"),
        favourites=locale_str("only those with a star", key="option_favourites_help"),
        tree=locale_str(
            "the number of a picture: show what it came from and what came of it",
            key="option_tree_help",
        ),
    )
    completed = app_commands.autocomplete(model=models, preset=presets)
    return app_commands.Command[Any, ..., None](
        name=locale_str("history", key="command_history"),
        description=locale_str("Your pictures, newest first", key="command_history_help"),
        callback=described(completed(history)),
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


async def _tree(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    user_id: int,
    job_id: int,
    texts: Any,
) -> None:
    job = await client.desk.jobs.get(job_id)
    if job is None or job.origin.user_id != user_id:
        raise Refused("job_number_unknown", job=job_id)
    relatives = await client.desk.store.history.tree(job_id)
    await say(interaction, overviews.tree(relatives, job_id, user_id, texts))
