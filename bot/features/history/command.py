"""`/history`: one's own pictures, newest first."""

from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.access.caller import Caller
from bot.features.history import entries, pages
from bot.features.history.presets import looked_for, preset_choices
from bot.interactions.autocomplete import choices, quiet
from bot.interactions.callers import caller_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, answer, defer, responding
from bot.interactions.sight import Sight, job_by_number
from bot.services import Services
from generation.name_search import is_short_of
from storage.history import Query

SEARCH_MAX = 200


def command(services: Services) -> Command:
    """The command, its filters as options."""

    async def history(
        interaction: Interaction,
        search: app_commands.Range[str, 1, SEARCH_MAX] | None = None,
        model: str | None = None,
        preset: str | None = None,
        favourites: bool = False,
        tree: int | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            if tree is not None:
                await _tree(services, interaction, caller, tree)
                return
            await defer(interaction, private=True)
            if model is not None:
                drawn = await services.store.history.models(caller.person.id)
                model = next((name for name in drawn if is_short_of(model, name)), model)
            query = Query(
                search=search or "",
                model=model or "",
                favourites=favourites,
                **await looked_for(services, caller, preset),
            )
            query_id = await services.store.history.keep_query(caller.person.id, query)
            shown = await pages.page_message(services, caller, query_id)
            await answer(interaction, **shown)

    async def models(interaction: Interaction, typed: str) -> list[Choice[str]]:
        names = await services.store.history.models(interaction.user.id)
        return choices(names, typed)

    async def presets(interaction: Interaction, typed: str) -> list[Choice[str]]:
        return await preset_choices(services, await caller_of(interaction), typed)

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
    completed = app_commands.autocomplete(model=quiet(models), preset=quiet(presets))
    callback = described(completed(history))
    return slash_command("history", "Your pictures, newest first", callback)


async def _tree(services: Services, interaction: Interaction, caller: Caller, job_id: int) -> None:
    await job_by_number(services, interaction, caller, "/history tree", job_id)
    await defer(interaction, private=True)
    relatives = await services.store.history.tree(job_id)
    sight = Sight(interaction, caller)
    readable = {job.id for _, job in relatives if await sight.reads(job)}
    shown = entries.tree(relatives, job_id, readable, caller.texts)
    await answer(interaction, content=shown)
