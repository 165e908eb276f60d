"""A preset in the making: menus for what is chosen, modals with short fields for the rest.

Each change is kept at once, so nothing is lost, whenever and by whomever it goes on.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import discord
import msgspec

from bot.access.caller import Caller
from bot.features.presets import fields
from bot.features.presets.shelf import BY_PREFIX, OWN, SERVER, Shelf
from bot.interactions.drafts import seen_anew
from bot.interactions.modal_submit import SubmitHandler, number_in, part_of, text_of
from bot.interactions.responding import Interaction, RespondingItem, show
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.formatting import cut_lines, one_line, quoted
from bot.ui.modal import OPTIONS_MAX, Modal
from bot.ui.persistent_items import StatelessLayout
from generation import preset_files
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.name_search import choice_of
from generation.preset import Preset
from generation.refusal import Refused
from generation.samplers import SAMPLERS
from generation.sizes import ASPECTS
from storage.drafts import Draft
from storage.presets import KeptPreset

NONE: Final = "-"
OTHER: Final = "+"
"""Values of menus: decides nothing; a text is asked for."""
CHOICE_MAX: Final = 100
SHOWN_MAX: Final = 200
FORM_MAX: Final = 4000
MENTIONS_SHOWN: Final = 10
SHELF: Final = r"(?P<own>(?:own_)?)"
NAME: Final = r"(?P<name>[^:\n\r]{1,50})"
SEEN: Final = r"(?::(?P<seen>[\w-]{1,8}))?"
MENUS: Final[Mapping[str, str]] = {"model": "files", "sampler": "", "aspect": "size"}
"""What is chosen from a menu, and the modal for what is not in it."""


def shown(preset: Preset, caller: Caller, catalog: Catalog, shelf: Shelf) -> discord.ui.LayoutView:
    """The preset and everything by which it is changed."""
    texts, name, mine = caller.texts, preset.name, shelf.prefix
    lines = [f"### {texts('dialog_preset', name=quoted(name, SHOWN_MAX))}"]
    for fields_ in fields.PARTS.values():
        for field in fields_:
            value = one_line(fields.text(preset, field).replace("\n", ", "))
            if value and field != "name":
                lines.append(f"**{texts(f'preset_field_{field}')}**: {quoted(value, SHOWN_MAX)}")
    if preset.sampler:
        lines.append(f"**{texts('preset_field_sampler')}**: {quoted(preset.sampler, SHOWN_MAX)}")
    if preset.roles:
        named = beginning([f"<@&{role}>" for role in preset.roles], texts)
        lines.append(f"**{texts('preset_field_roles')}**: {named}")
    if len(lines) == 1:
        lines.append(texts("preset_open"))
    if shelf.own:
        lines.insert(1, f"-# {texts('preset_name_public')}")
    view = StatelessLayout()
    models = [m.name for m in catalog.checkpoints if m.family in FAMILIES]
    choices = (
        ("model", models, preset.model),
        ("sampler", list(SAMPLERS), preset.sampler),
        ("aspect", list(ASPECTS), None),
    )
    parts: list[Any] = [discord.ui.TextDisplay(cut_lines("\n".join(lines), 3500))]
    parts += [discord.ui.ActionRow(_menu(caller, name, mine, *choice)) for choice in choices]
    ask: discord.ui.Select[Any] = discord.ui.Select(
        custom_id=f"darkroom:{mine}preset_set:part:{name}",
        placeholder=texts("preset_more"),
        options=[
            discord.SelectOption(label=texts(f"preset_part_{part}")[:CHOICE_MAX], value=part)
            for part in fields.PARTS
            if not shelf.own or part != "bounds"
        ],
    )
    parts.append(discord.ui.ActionRow(ask))
    role_kind = discord.SelectDefaultValueType.role
    roles_menu: discord.ui.RoleSelect[Any] = discord.ui.RoleSelect(
        custom_id=f"darkroom:preset_roles:{name}:{fields.mark(preset.roles)}",
        placeholder=texts("preset_field_roles"),
        min_values=0,
        max_values=OPTIONS_MAX,
        default_values=[
            discord.SelectDefaultValue(id=role, type=role_kind)
            for role in preset.roles[:OPTIONS_MAX]
        ],
    )
    if not shelf.own:
        parts.append(discord.ui.ActionRow(roles_menu))
    button: discord.ui.Button[Any] = discord.ui.Button(
        style=discord.ButtonStyle.secondary,
        label=texts("preset_as_text"),
        custom_id=f"darkroom:{mine}preset_text:{name}",
    )
    parts.append(discord.ui.ActionRow(button))
    view.add_item(discord.ui.Container(*parts))
    return view


def beginning(mentions: Sequence[str], texts: Texts) -> str:
    """Mentions of roles or channels; of many the first and how many more."""
    more = len(mentions) - MENTIONS_SHOWN
    named = ", ".join(mentions[:MENTIONS_SHOWN])
    return named + (texts("setting_more", count=more) if more > 0 else "")


def _menu(
    caller: Caller, name: str, mine: str, field: str, choices: list[str], chosen: str | None
) -> discord.ui.Select[Any]:
    texts = caller.texts
    room = OPTIONS_MAX - 1 - bool(MENUS[field])
    listed = choices[:room]
    if chosen and chosen not in listed:
        listed = [chosen, *listed[: room - 1]]
    short = [choice_of(choice, CHOICE_MAX) for choice in listed]
    named = {NONE: texts("preset_undecided"), **{each: each for each in dict.fromkeys(short)}}
    if MENUS[field]:
        named[OTHER] = texts("preset_other")
    now = choice_of(chosen, CHOICE_MAX) if chosen else ""
    return discord.ui.Select(
        custom_id=f"darkroom:{mine}preset_set:{field}:{name}",
        placeholder=texts(f"preset_field_{field}"),
        options=[
            discord.SelectOption(label=label[:CHOICE_MAX], value=value, default=value == now)
            for value, label in named.items()
        ],
    )


def part_modal(kept: KeptPreset, part: str, caller: Caller, shelf: Shelf) -> Modal:
    """Short fields, filled in."""
    texts, preset = caller.texts, kept.preset
    where = f"{part}::{fields.marks(preset, part)}:{kept.id}"
    asked = Modal(
        f"darkroom:{shelf.prefix}preset_part:{where}", texts("dialog_preset", name=preset.name)
    )
    for field in fields.PARTS[part]:
        asked.text(
            field,
            texts(f"preset_field_{field}"),
            value=fields.text(preset, field),
            long=field in fields.LONG,
            required=field == "name",
        )
    return asked


def text_modal(
    preset: Preset, caller: Caller, shelf: Shelf, was: KeptPreset | None = None
) -> Modal:
    """A preset as its file would have it, new or in place of one that was there before.

    Raises Refused where that is too long for a modal.
    """
    leave = ("roles",) if shelf.own else ()
    form = preset_files.to_form(preset, leave)
    if len(form) > FORM_MAX:
        form = preset_files.to_toml([preset])
    if len(form) > FORM_MAX:
        raise Refused("preset_text_long", high=FORM_MAX)
    where = f"{was.name}:{fields.mark(was.preset)}:{was.id}" if was is not None else ""
    asked = Modal(
        f"darkroom:{shelf.prefix}preset:{where}", caller.texts("dialog_preset", name=preset.name)
    )
    return asked.text("preset", caller.texts("dialog_preset_text"), value=form, long=True)


async def _change(
    interaction: Interaction,
    caller: Caller,
    which: str | int,
    change: Callable[[Preset], Preset],
    shelf: Shelf,
) -> None:
    """Keep the preset changed, and show it so. Raises Refused."""
    services = interaction.client.services
    owner_id = await shelf.writer(services, caller)
    new = await shelf.store(services).change(
        owner_id, which, lambda now: fields.checked(change(now), services.catalog, shelf)
    )
    await show(interaction, shown(new.preset, caller, services.catalog, shelf))


async def _get(services: Services, caller: Caller, name: str, shelf: Shelf) -> KeptPreset:
    return await shelf.store(services).kept(await shelf.writer(services, caller), name)


class PresetMenu(
    RespondingItem[discord.ui.Select[Any]],
    template=rf"darkroom:{SHELF}preset_set:(?P<field>model|sampler|aspect|part):{NAME}",
):
    """Chooses a model, a sampler, a shape, or what to be asked for."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Change it, or ask."""
        services, name, field = (
            interaction.client.services,
            self.fields["name"],
            self.fields["field"],
        )
        chosen = part_of(self.item.values, 0)
        shelf = BY_PREFIX[self.fields["own"]]
        part = chosen if field == "part" else MENUS[field] if chosen == OTHER else ""
        if field == "part" or part:
            if part not in fields.PARTS:
                raise Refused("setting_gone")
            found = await _get(services, caller, name, shelf)
            await interaction.response.send_modal(part_modal(found, part, caller, shelf))
            return
        value = "" if chosen == NONE else chosen
        catalog, rules = services.catalog, services.requests.rules

        def change(now: Preset) -> Preset:
            if field == "aspect":
                return fields.sized(now, value, catalog, rules)
            return msgspec.structs.replace(now, **{field: value or None})

        await _change(interaction, caller, name, change, shelf)


class PresetRoles(
    RespondingItem[discord.ui.RoleSelect[Any]],
    template=rf"darkroom:preset_roles:{NAME}{SEEN}",
):
    """Chooses the roles that a preset is for."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Change them; those beyond what the menu shows stay. Refused where others chose other
        roles since it was shown.
        """
        seen = self.fields["seen"]
        chosen = tuple(role.id for role in self.item.values)

        def change(now: Preset) -> Preset:
            if seen and seen != fields.mark(now.roles):
                raise Refused("preset_roles_changed", name=now.name)
            roles = dict.fromkeys((*chosen, *now.roles[OPTIONS_MAX:]))
            return msgspec.structs.replace(now, roles=tuple(roles))

        await _change(interaction, caller, self.fields["name"], change, SERVER)


class PresetTextButton(
    RespondingItem[discord.ui.Button[Any]],
    template=rf"darkroom:{SHELF}preset_text:{NAME}",
):
    """Opens the preset as text."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """For those who would rather write it."""
        shelf, services = BY_PREFIX[self.fields["own"]], interaction.client.services
        found = await _get(services, caller, self.fields["name"], shelf)
        await interaction.response.send_modal(text_modal(found.preset, caller, shelf, found))


ITEMS: Final = (PresetMenu, PresetRoles, PresetTextButton)


async def _on_part(
    _services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
    *,
    shelf: Shelf,
) -> None:
    """Handed-in short fields."""
    part, name, seen, number = (*where, "", "", "", "")[:4]
    if part not in fields.PARTS:
        raise Refused("setting_gone")
    entered = {field: str(values.get(field) or "") for field in fields.PARTS[part]}

    def change(now: Preset) -> Preset:
        try:
            touched = fields.touched(now, part, entered, seen)
        except fields.ChangedByOthers as changed:
            seen_anew(interaction, (part, name, changed.seen, number))
            raise
        return fields.changed(now, touched)

    await _change(interaction, caller, _which(name, number), change, shelf)


async def _on_text(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
    *,
    shelf: Shelf,
) -> None:
    """A preset handed in as text."""
    name, seen, number = (*where, "", "", "")[:3]
    owner_id = await shelf.writer(services, caller)
    found = preset_files.from_toml(text_of(values, "preset"))
    if len(found) != 1:
        raise Refused("preset_one_only")
    if not name:
        new = fields.checked(found[0], services.catalog, shelf)
        await shelf.store(services).write(owner_id, new)
        await show(interaction, shown(new, caller, services.catalog, shelf))
        return

    def change(now: Preset) -> Preset:
        if seen and seen != fields.mark(now) and found[0] != now:
            seen_anew(interaction, (name, fields.mark(now), number))
            raise Refused("preset_changed", name=now.name)
        return found[0]

    await _change(interaction, caller, _which(name, number), change, shelf)


def _which(name: str, number: str) -> str | int:
    """A preset by its number, which it keeps when it is renamed; of old dialogs, by its name."""
    return number_in(number) if number else name


async def _reopen_part(
    interaction: Interaction, caller: Caller, draft: Draft, _number: int, *, shelf: Shelf
) -> Modal:
    services = interaction.client.services
    part, name, _, number = (*draft.where, "", "", "", "")[:4]
    if part not in fields.PARTS:
        raise Refused("setting_gone")
    owner_id, which = await shelf.writer(services, caller), _which(name, number)
    found = await shelf.store(services).find(owner_id, which)
    # of one that is gone there is what was typed still
    gone = KeptPreset(which if isinstance(which, int) else 0, Preset(name=name or "-"))
    asked = part_modal(found or gone, part, caller, shelf)
    # what is filled in was typed over what was seen then, not over what is there now
    asked.custom_id = ":".join([f"darkroom:{draft.name}", *draft.where])
    return asked


async def _reopen_text(
    interaction: Interaction, caller: Caller, draft: Draft, _number: int, *, shelf: Shelf
) -> Modal:
    services = interaction.client.services
    name, _, number = (*draft.where, "", "", "")[:3]
    owner_id = await shelf.writer(services, caller)
    found = await shelf.store(services).find(owner_id, _which(name, number))
    # what was typed is filled in, so what is there now need not fit
    asked = text_modal(Preset(name=name or "-"), caller, shelf, found)
    if found is not None:
        asked.custom_id = ":".join([f"darkroom:{draft.name}", *draft.where])
    return asked


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    f"{shelf.prefix}{name}": functools.partial(handler, shelf=shelf)
    for shelf in (SERVER, OWN)
    for name, handler in (("preset_part", _on_part), ("preset", _on_text))
}
REOPEN: Final[Mapping[str, Reopener]] = {
    f"{shelf.prefix}{name}": functools.partial(reopener, shelf=shelf)
    for shelf in (SERVER, OWN)
    for name, reopener in (("preset_part", _reopen_part), ("preset", _reopen_text))
}
