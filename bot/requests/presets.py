"""Which preset a request is made with, and what that means for all that comes of it."""

import msgspec

from bot.access import permissions
from bot.access.caller import Caller
from generation import preset, preset_making
from generation.catalog import Catalog
from generation.job import Job, Origin, PresetUse
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.store import Store


class ChosenPreset(msgspec.Struct, frozen=True):
    """A preset, and how a request that is made with it names it."""

    preset: Preset
    use: PresetUse


class RequestPresets:
    """The presets of servers and people, as requests use them. Raises Refused."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._guilds = store.presets
        self._people = store.own_presets
        self._catalog = catalog

    async def chosen(self, caller: Caller, name: str | None) -> ChosenPreset | None:
        """The preset of that name; unnamed, the person's, the channel's or the server's default."""
        guild_id = caller.place.guild_id
        # of two of the same name, one's own comes first
        mine = name or caller.own.own_preset
        own = await self._people.find(caller.person.id, mine) if mine else None
        if own is not None:
            return ChosenPreset(own.preset, PresetUse(own.name, own.id, own=True))
        if guild_id is None:
            if name:
                await self._people.get(caller.person.id, name)
            return None
        await self._guilds.ensure_starters(guild_id, preset_making.starters(self._catalog))
        if name:
            return await self._of_guild(guild_id, name)
        return await self._default(caller, guild_id)

    async def _default(self, caller: Caller, guild_id: int) -> ChosenPreset | None:
        places = (caller.place.channel_id or 0, caller.place.parent_id or 0)
        by_channel, own = caller.guild.channel_presets, caller.own
        defaults = [
            own.default_preset if own.default_preset_guild in (None, guild_id) else None,
            *(by_channel[place] for place in places if place in by_channel),
            caller.guild.default_preset,
        ]
        for default in defaults:
            if default is None:
                continue
            try:
                found = await self._of_guild(guild_id, default)
            except Refused:
                continue  # deleted since, or of another server: the next one
            if permissions.may_use(found.preset, caller):
                return found
        return None

    async def _of_guild(self, guild_id: int, name: str) -> ChosenPreset:
        found = await self._guilds.kept(guild_id, name)
        return ChosenPreset(found.preset, PresetUse(found.name, found.id))

    async def binding(self, job: Job) -> Preset | None:
        """The server's preset whose roles hold for a request, whatever it is called now."""
        use, guild_id = job.preset, job.origin.guild_id
        if use is None or use.own or use.id is None or guild_id is None:
            return None
        return await self._guilds.used(guild_id, use.id)

    async def check(
        self, parent: Job, request: GenerationRequest, caller: Caller, *, enlarging: bool
    ) -> None:
        """Hold what comes of a request to the roles and bounds of the preset of that request."""
        drawn_with = await self.binding(parent)
        if drawn_with is not None:
            permissions.check_preset_of(parent, drawn_with, caller)
        bounds = await self.bounding(parent, caller.person.id)
        if bounds is not None:
            preset.check_bounds(bounds, request, enlarging=enlarging)

    async def bounding(self, job: Job, user_id: int) -> Preset | None:
        """The preset whose bounds hold for what somebody draws again: a server's or their own."""
        use = job.preset
        if use is not None and use.id is not None and kept_by(job, user_id):
            return await self._people.used(user_id, use.id)
        return await self.binding(job)


def kept_by(parent: Job, user_id: int) -> bool:
    """Whether somebody draws again with a preset of their own: nobody else draws with it."""
    return parent.preset is not None and parent.preset.own and parent.origin.user_id == user_id


def use_there(parent: Job, origin: Origin) -> PresetUse | None:
    """The preset of a request that comes of another: its server's alone, or its owner's."""
    if parent.preset is None or parent.preset.own:
        return parent.preset if kept_by(parent, origin.user_id) else None
    return parent.preset if origin.guild_id == parent.origin.guild_id else None
