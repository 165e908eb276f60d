"""What is offered while somebody types."""

import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

import structlog
from discord.app_commands import Choice

from bot.access import permissions
from bot.interactions.callers import caller_of
from bot.interactions.responding import Interaction
from bot.services import Services
from generation import preset_making
from generation.name_search import NameSearch, choice_of
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

Choosable = TypeVar("Choosable", str, int)
Completer = Callable[[Interaction, str], Coroutine[Any, Any, list[Choice[Choosable]]]]

CHOICES_MAX: Final = 25
NAME_MAX: Final = 100
"""Discord's bounds on choices and on their names and values."""


def quiet(complete: Completer[Choosable]) -> Completer[Choosable]:
    """A completer that offers nothing while the database can't be read: nobody can be told why."""

    @functools.wraps(complete)
    async def quietly(interaction: Interaction, typed: str) -> list[Choice[Choosable]]:
        try:
            return await complete(interaction, typed)
        except DatabaseError as error:
            log.warning("nothing can be offered", error=str(error))
            return []

    return quietly


async def preset_choices(
    services: Services, interaction: Interaction, typed: str
) -> list[Choice[str]]:
    """The presets that somebody may draw with and that fit what was typed, best first: their own,
    then the server's.
    """
    caller = await caller_of(interaction)
    guild_id = caller.place.guild_id
    mine = [found.name for found in await services.store.own_presets.all_of(caller.person.id)]
    marked = caller.texts("preset_mine")
    own = [Choice(name=f"{name} · {marked}"[:NAME_MAX], value=name) for name in best(mine, typed)]
    if guild_id is None:
        return own
    store = services.store.presets
    await store.ensure_starters(guild_id, preset_making.starters(services.catalog))
    names = [
        found.name for found in await store.all_of(guild_id) if permissions.may_use(found, caller)
    ]
    taken = {str(choice.value).casefold() for choice in own}
    theirs = [c for c in choices(names, typed) if c.value.casefold() not in taken]
    return [*own, *theirs][:CHOICES_MAX]


def choices(names: NameSearch | Iterable[str], typed: str) -> list[Choice[str]]:
    """The names that fit what was typed, best first, as choices."""
    return [Choice(name=name, value=name) for name in best(names, typed)]


def best(names: NameSearch | Iterable[str], typed: str) -> list[str]:
    """At most 25 of the names: all in order where nothing is typed, else the most alike first.

    One that is too long for Discord in its short form, by which the catalogue finds it, too.
    """
    search = names if isinstance(names, NameSearch) else NameSearch(names)
    return [choice_of(name, NAME_MAX) for name in search.matching(typed, CHOICES_MAX)]
