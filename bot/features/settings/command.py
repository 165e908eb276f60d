"""`/settings`: what holds in this server, and for oneself, shown and changed in one panel."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import discord
import msgspec

from bot.access import permissions
from bot.access.caller import Caller
from bot.features.settings import list_files, lists, panel, reserved
from bot.features.settings.panel import SETTINGS, Setting
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import seen_anew
from bot.interactions.modal_submit import SubmitHandler, part_of
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    defer_showing,
    responding,
    show,
)
from bot.services import Reopener, Services
from bot.ui.formatting import text_file
from bot.ui.modal import Modal
from generation import preset as presets
from generation.refusal import Refused
from storage.drafts import Draft
from storage.settings import HELD, UNCHECKED, GuildSettings, PersonSettings
from storage.store import Store


def command(services: Services) -> Command:
    """The command."""

    async def settings(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            view = panel.shown(caller, **_audit_troubles(services, caller))
            await interaction.response.send_message(view=view, ephemeral=True)

    return slash_command("settings", "See and change settings", settings)


def _audit_troubles(services: Services, caller: Caller) -> dict[str, Any]:
    """What the panel says of the audit channel, and of what the bot can't do elsewhere."""
    guild_id, channel_id = caller.place.guild_id, caller.guild.audit_channel
    if guild_id is None:
        return {}
    audit = services.audit
    return {
        "audit_closed": channel_id is not None and audit.is_closed(guild_id, channel_id),
        "audit_lost": audit.lost(guild_id) if channel_id is not None else 0,
        "troubles": audit.troubles(guild_id),
    }


class SettingsMenu(
    RespondingItem[discord.ui.Select[Any]],
    template=r"darkroom:settings:(?P<scope>guild|person)",
):
    """The panel's menu of the settings that can be changed."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Switch a setting that is yes or no; ask for the value of any other."""
        services = interaction.client.services
        setting = _setting(f"{self.fields['scope']}.{part_of(self.item.values, 0)}")
        _check(setting, caller)
        if lists.is_long(setting, caller):
            await _show(interaction, caller, setting)
        elif setting.kind == "toggle":
            await _change(services, interaction, caller, setting, {})
        else:
            await interaction.response.send_modal(_modal_of(setting, caller))


class SettingsListButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:settings_(?P<do>back|next|add|edit|file|load|all):(?P<scope>guild|person)"
    r":(?P<name>[a-z_]{1,30}):(?P<page>[0-9]{1,4})",
):
    """Turns the pages of a long list, asks for entries, hands the whole out or in as a file."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """As the button says."""
        setting = lists.setting_of(self.fields["scope"], self.fields["name"])
        _check(setting, caller)
        page, do = int(self.fields["page"]), self.fields["do"]
        match do:
            case "back" | "next":
                await _show(interaction, caller, setting, page + (1 if do == "next" else -1))
            case "add" | "edit":
                at = page if do == "edit" else None
                await interaction.response.send_modal(lists.modal(setting, caller, at))
            case "file":
                lines = "\n".join(panel.raw_entries(setting, caller))
                file = text_file(lines, f"{setting.name}.txt")
                await interaction.response.send_message(file=file, ephemeral=True)
            case "load":
                await interaction.response.send_modal(list_files.modal(setting, caller))
            case _:
                await _show(interaction, caller)


class SettingsRemoveMenu(
    RespondingItem[discord.ui.Select[Any]],
    template=r"darkroom:settings_remove:(?P<scope>guild|person):(?P<name>[a-z_]{1,30})"
    r":(?P<page>[0-9]{1,4}):(?P<seen>[0-9a-f]{8})",
):
    """Takes entries out of a long list, also those that can't be chosen any more."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Take out those that were chosen."""
        store = interaction.client.services.store
        setting = lists.setting_of(self.fields["scope"], self.fields["name"])
        _check(setting, caller)
        page = int(self.fields["page"])
        gone = lists.chosen(setting, caller, page, self.fields["seen"], self.item.values)

        caller = await _rewritten(
            store, caller, setting, lambda there: lists.without(setting, there, gone)
        )
        await _show(interaction, caller, setting, page)


async def _rewritten(
    store: Store, caller: Caller, setting: Setting, new: Callable[[Caller], Any]
) -> Caller:
    """Change a list from what is there now; returns the caller with the settings after that."""
    guild_id = caller.place.guild_id
    assert guild_id is not None

    def change(now: GuildSettings) -> GuildSettings:
        there = dataclasses.replace(caller, guild=now)
        return msgspec.structs.replace(now, **{setting.name: new(there)})

    return dataclasses.replace(caller, guild=await store.settings.change_guild(guild_id, change))


async def _on_page(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A handed-in page of a long list, or what is added to it."""
    setting = lists.setting_of(*(*where, "", "")[:2])
    _check(setting, caller)
    # a blocklist may take long to compile
    await asyncio.to_thread(lists.replaced, setting, caller, where[2:], values)
    caller = await _rewritten(
        services.store,
        caller,
        setting,
        lambda there: lists.replaced(setting, there, where[2:], values),
    )
    begin = int(where[2])
    page = sum(end <= begin for _, end in lists.pages(setting, caller))
    await _show(interaction, caller, setting, page)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A handed-in dialog of one setting."""
    setting = _setting(".".join(where[:2]))
    seen = where[2] if len(where) > 2 else None
    _check(setting, caller)
    file = list_files.uploaded(interaction, values)
    if file is not None and setting.kind in panel.LISTS:
        list_files.check_alone(setting, caller, values, seen)
        await _load(services, interaction, caller, setting, file, seen or "")
        return
    try:
        await _change(services, interaction, caller, setting, {**values, panel.SEEN: seen})
    except panel.SettingChanged as changed:
        seen_anew(interaction, (*where[:2], changed.seen))
        raise


async def _on_file(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A handed-in file of a long list."""
    setting = lists.setting_of(*(*where, "", "")[:2])
    _check(setting, caller)
    file = list_files.uploaded(interaction, values)
    if file is None:
        raise Refused("nothing_chosen")
    await _load(services, interaction, caller, setting, file, part_of(where, 2))


async def _load(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    setting: Setting,
    file: discord.Attachment,
    seen: str,
) -> None:
    """Make the list what a file has; `seen` is the mark of what it was when it was asked for."""
    store, guild_id, server = services.store, caller.place.guild_id, interaction.guild
    assert guild_id is not None
    await defer_showing(interaction)
    data = await list_files.fetch(file)
    here = list_files.Here(
        roles=None if server is None else frozenset(role.id for role in server.roles),
        channels=None
        if server is None
        else frozenset(each.id for each in (*server.channels, *server.threads)),
        presets=tuple(await store.presets.all_of(guild_id)),
        waiting=services.requests.rules.limits.waiting,
        catalog=services.catalog,
    )
    # a blocklist may take long to compile
    entries = await asyncio.to_thread(list_files.read, setting, caller, data, file.filename, here)

    def change(now: GuildSettings) -> GuildSettings:
        there = dataclasses.replace(caller, guild=now)
        new = list_files.joined(setting, there, entries, seen)
        return msgspec.structs.replace(now, **{setting.name: new})

    by_preset = setting.kind == "channel_preset"
    changing = store.presets.change_channels if by_preset else store.settings.change_guild
    guild = await changing(guild_id, change)
    caller = dataclasses.replace(caller, guild=guild)
    await _show(interaction, caller, setting if lists.is_long(setting, caller) else None)


async def _reopen(_interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    setting = _setting(".".join(draft.where[:2]))
    _check(setting, caller)
    return _as_seen(_modal_of(setting, caller), draft)


async def _reopen_page(
    _interaction: Interaction, caller: Caller, draft: Draft, _number: int
) -> Modal:
    setting = lists.setting_of(*(*draft.where, "", "")[:2])
    _check(setting, caller)
    return _as_seen(lists.modal(setting, caller, None), draft)


async def _reopen_file(
    _interaction: Interaction, caller: Caller, draft: Draft, _number: int
) -> Modal:
    setting = lists.setting_of(*(*draft.where, "", "")[:2])
    _check(setting, caller)
    return _as_seen(list_files.modal(setting, caller), draft)


def _as_seen(asked: Modal, draft: Draft) -> Modal:
    """The modal with the mark of what was seen when it was first opened: what others have changed
    since is not taken back by what was typed before.
    """
    asked.custom_id = ":".join([f"darkroom:{draft.name}", *draft.where])
    return asked


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    "setting": _on_submit,
    "setting_page": _on_page,
    "setting_file": _on_file,
}
REOPEN: Final[Mapping[str, Reopener]] = {
    "setting": _reopen,
    "setting_page": _reopen_page,
    "setting_file": _reopen_file,
}


def _modal_of(setting: Setting, caller: Caller) -> Modal:
    asked = panel.modal_of(setting, caller)
    return list_files.add_field(asked, setting, caller) if setting.kind in panel.LISTS else asked


async def _change(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    setting: Setting,
    values: Mapping[str, Any],
) -> None:
    store = services.store
    values = reserved.named(setting, values, services.catalog)
    # a blocklist may take long to compile
    new = await asyncio.to_thread(panel.changed, setting, caller, values)
    if setting.name == "picture_check" and new != panel.current(setting, caller):
        if new not in UNCHECKED and not services.delivery.attachments.checked:
            raise Refused("picture_check_none")
        if new in HELD and caller.guild.audit_channel is None:
            raise Refused("hold_needs_audit")
    if setting.name == "audit_channel" and new is None and caller.guild.picture_check in HELD:
        raise Refused("audit_needed")
    if setting.name in ("waiting", "waiting_by_role"):
        panel.check_waiting(setting, caller, new, services.requests.rules.limits.waiting)
    guild_id = caller.place.guild_id
    if setting.key == "person.default_preset":
        here = caller.own.default_preset_guild in (None, guild_id)
        if new != caller.own.default_preset or not here:
            own = await _own_preset(services, caller, new)
            caller = dataclasses.replace(caller, own=own)
    elif setting.scope == "guild":
        assert guild_id is not None
        guild = await _change_guild(store, guild_id, caller, setting, values)
        caller = dataclasses.replace(caller, guild=guild)
        if setting.name == "audit_channel":
            await services.delivery.approvals.ask_again(guild_id)
    else:

        def change(now: PersonSettings) -> PersonSettings:
            there = caller if setting.kind == "toggle" else dataclasses.replace(caller, own=now)
            return msgspec.structs.replace(
                now, **{setting.name: panel.changed(setting, there, values)}
            )

        own = await store.settings.change_person(caller.person.id, change)
        caller = dataclasses.replace(caller, own=own)
    await _show(interaction, caller, setting if lists.is_long(setting, caller) else None)


async def _show(
    interaction: Interaction, caller: Caller, setting: Setting | None = None, page: int = 0
) -> None:
    """The panel, or a page of one of its lists."""
    view = panel.shown(caller, **_audit_troubles(interaction.client.services, caller))
    if setting is not None:
        guild = interaction.guild
        named = [*guild.channels, *guild.roles] if guild is not None else []
        view = lists.shown(setting, caller, page, {each.id: each.name for each in named})
    await show(interaction, view)


async def _change_guild(
    store: Store,
    guild_id: int,
    caller: Caller,
    setting: Setting,
    values: Mapping[str, Any],
) -> GuildSettings:
    """Change what is set now, which another manager may have changed since it was shown."""
    if setting.kind in ("preset", "channel_preset"):
        in_channel = setting.kind == "channel_preset"
        place = panel.chosen_id(values, "channel") if in_channel else None
        name = panel.entered_text(values) or None

        def is_new(now: GuildSettings) -> bool:
            there = dataclasses.replace(caller, guild=now)
            return bool(panel.changed(setting, there, values) != panel.current(setting, there))

        return await store.presets.set_default(guild_id, name, channel_id=place, is_new=is_new)

    def change(now: GuildSettings) -> GuildSettings:
        # a switch goes where its presser wanted it, whoever else pressed
        there = caller if setting.kind == "toggle" else dataclasses.replace(caller, guild=now)
        new = panel.changed(setting, there, values)
        return msgspec.structs.replace(now, **{setting.name: new})

    return await store.settings.change_guild(guild_id, change)


async def _own_preset(services: Services, caller: Caller, name: str | None) -> PersonSettings:
    """Make a preset of the server where they are somebody's own default. Raises Refused."""
    guild_id, store = caller.place.guild_id, services.store
    if name is None:
        return await store.settings.change_person(
            caller.person.id, default_preset=None, default_preset_guild=None
        )
    if guild_id is None:
        raise Refused("preset_needs_server")
    presets.check_roles(await store.presets.get(guild_id, name), caller.person.roles)
    return await store.presets.set_own_default(caller.person.id, guild_id, name)


def _setting(key: str) -> Setting:
    if key not in SETTINGS:
        raise Refused("setting_gone")
    return SETTINGS[key]


def _check(setting: Setting, caller: Caller) -> None:
    permissions.check_person(f"/settings {setting.scope}", caller)
