"""The filter of a history by preset: a server's or one's own, also by a name that it had before."""

from typing import Any, Final

from discord.app_commands import Choice

from bot.access import permissions
from bot.access.caller import Caller
from bot.interactions.autocomplete import CHOICES_MAX, NAME_MAX, best
from bot.services import Services
from storage.presets import KeptPreset

OWN: Final = "own:"
SERVER: Final = "server:"
"""What values begin with that say whose preset they mean; no name has a colon."""


async def preset_choices(services: Services, caller: Caller, typed: str) -> list[Choice[str]]:
    """One's own and the server's that they may draw with, each by itself where both have a name."""
    store, guild_id = services.store, caller.place.guild_id
    mine = [found.name for found in await store.own_presets.all_of(caller.person.id)]
    marked = caller.texts("preset_mine")
    found = [
        Choice(name=f"{name} · {marked}"[:NAME_MAX], value=f"{OWN}{name}")
        for name in best(mine, typed)
    ]
    if guild_id is not None:
        there = await store.presets.all_of(guild_id)
        usable = [preset.name for preset in there if permissions.may_use(preset, caller)]
        found += [Choice(name=name, value=f"{SERVER}{name}") for name in best(usable, typed)]
    return found[:CHOICES_MAX]


async def looked_for(services: Services, caller: Caller, given: str | None) -> dict[str, Any]:
    """The fields of a query for what was chosen or typed, whichever is called so."""
    if not given:
        return {}
    name = given.removeprefix(OWN).removeprefix(SERVER)
    own = services.store.own_presets
    if given.startswith(OWN):
        found = await own.find(caller.person.id, name)
        return _fields(name, found, own=True)
    guild_id = caller.place.guild_id
    there = None if guild_id is None else await services.store.presets.find(guild_id, name)
    if given.startswith(SERVER):
        return _fields(name, there, own=False)
    found = await own.find(caller.person.id, name)
    if found is not None and there is not None:
        return _fields(name, None, own=None)
    return _fields(name, found or there, own=None)


def _fields(name: str, found: KeptPreset | None, *, own: bool | None) -> dict[str, Any]:
    if found is None:
        return {"preset": name, "preset_own": own}
    return {"preset": found.name, "preset_id": found.id, "preset_own": own}
