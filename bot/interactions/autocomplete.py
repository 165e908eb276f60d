"""What is offered while somebody types."""

from collections.abc import Mapping
from typing import Final

from discord.app_commands import Choice
from rapidfuzz import fuzz, process

from bot.interactions.responding import Interaction
from bot.services import Services
from generation import preset

CHOICES_MAX: Final = 25
NAME_MAX: Final = 100
"""Discord's bounds on choices and on their names and values."""


async def preset_choices(
    services: Services, interaction: Interaction, typed: str
) -> list[Choice[str]]:
    """The server's presets whose names fit what was typed, best first."""
    guild_id = interaction.guild_id
    if guild_id is None:
        return []
    store = services.store.presets
    await store.ensure_starters(guild_id, preset.starters(services.catalog))
    names = [found.name for found in await store.all_of(guild_id)]
    return [Choice(name=name, value=name) for name in best(names, typed)]


def best(names: Mapping[str, None] | list[str], typed: str) -> list[str]:
    """At most 25 of the names: all in order where nothing is typed, else the most alike first."""
    usable = [name for name in names if len(name) <= NAME_MAX]
    if not typed:
        return usable[:CHOICES_MAX]
    folded = typed.casefold()
    inside = [name for name in usable if folded in name.casefold()]
    inside.sort(key=lambda name: (not name.casefold().startswith(folded), name.casefold()))
    alike = process.extract(typed, usable, scorer=fuzz.WRatio, limit=CHOICES_MAX, score_cutoff=55)
    return list(dict.fromkeys([*inside, *(match[0] for match in alike)]))[:CHOICES_MAX]
