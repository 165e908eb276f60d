"""Whose presets a command or a panel is about: the server's, or one's own."""

from dataclasses import dataclass
from typing import Final

from bot.access import permissions
from bot.access.caller import Caller
from bot.services import Services
from generation import preset_making
from generation.preset import Preset
from generation.refusal import Refused
from storage.presets import PresetStore


@dataclass(frozen=True)
class Shelf:
    """The presets of a server, which its managers write, or those of a person."""

    own: bool
    command: str
    """The name of its commands."""
    prefix: str
    """What the names of its custom_ids begin with."""

    def store(self, services: Services) -> PresetStore:
        """Where they are kept."""
        return services.store.own_presets if self.own else services.store.presets

    async def owner(self, services: Services, caller: Caller) -> int:
        """The id of the server or the person; a server that was never here gets its first presets.

        Raises Refused where there is no server.
        """
        if self.own:
            return caller.person.id
        guild_id = caller.place.guild_id
        if guild_id is None:
            raise Refused("preset_needs_server")
        starters = preset_making.starters(services.catalog)
        await services.store.presets.ensure_starters(guild_id, starters)
        return guild_id

    async def writer(self, services: Services, caller: Caller) -> int:
        """The same, for whoever may change them. Raises Refused."""
        permissions.check_person(f"/{self.command} edit", caller)
        return await self.owner(services, caller)

    def may_see(self, preset: Preset, caller: Caller) -> bool:
        """Whether somebody may see what one holds."""
        return self.own or permissions.may_see(preset, caller)

    def check(self, preset: Preset) -> None:
        """Refuse what makes no sense there."""
        if self.own and preset.roles:
            raise Refused("own_preset_roles")


SERVER: Final = Shelf(own=False, command="preset", prefix="")
OWN: Final = Shelf(own=True, command="mypreset", prefix="own_")
BY_PREFIX: Final = {shelf.prefix: shelf for shelf in (SERVER, OWN)}
