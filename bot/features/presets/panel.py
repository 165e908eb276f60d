"""A preset in the making: menus for what is chosen, modals with short fields for the rest.

Each change is kept at once, so nothing is lost, whenever and by whomever it goes on.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import discord
import msgspec

from bot.access import permissions
from bot.access.caller import Caller
from bot.features.presets import fields
from bot.interactions.modal_submit import SubmitHandler, part_of
from bot.interactions.responding import Interaction, RespondingItem, show
from bot.services import Reopener, Services
from bot.ui.formatting import cut_lines, one_line, quoted
from bot.ui.modal import OPTIONS_MAX, Modal
from bot.ui.persistent_items import StatelessLayout
from generation import preset as presets
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.name_search import choice_of
from generation.preset import Preset
from generation.refusal import Refused
from generation.samplers import SAMPLERS
from generation.sizes import ASPECTS
from storage.drafts import Draft

OWN: Final = "own_"
"""What the names of custom_ids about one's own presets begin with."""
NONE: Final = "-"
OTHER: Final = "+"
"""Values of menus: decides nothing; a text is asked for."""
CHOICE_MAX: Final = 100
SHOWN_MAX: Final = 200
FORM_MAX: Final = 4000
NAME: Final = r"(?P<name>[^:\n\r]{1,50})"
MENUS: Final[Mapping[str, str]] = {"model": "files", "sampler": "", "aspect": "size"}
"""What is chosen from a menu, and the modal for what is not in it."""


def shown(
    preset: Preset, caller: Caller, catalog: Catalog, *, own: bool = False
) -> discord.ui.LayoutView:
    """The preset and everything by which it is changed."""
    texts, name = caller.texts, preset.name
    mine = OWN if own else ""
    lines = [f"### {texts('dialog_preset', name=quoted(name, SHOWN_MAX))}"]
    for fields_ in fields.PARTS.values():
        for field in fields_:
            value = one_line(fields.text(preset, field).replace("\n", ", "))
            if value and field != "name":
                lines.append(f"**{texts(f'preset_field_{field}')}**: {quoted(value, SHOWN_MAX)}")
    if preset.sampler:
        lines.append(f"**{texts('preset_field_sampler')}**: {quoted(preset.sampler, SHOWN_MAX)}")
    if preset.roles:
        roles = [f"<@&{role}>" for role in preset.roles[:10]]
        more = len(preset.roles) - len(roles)
        said = ", ".join(roles) + (texts("setting_more", count=more) if more else "")
        lines.append(f"**{texts('preset_field_roles')}**: {said}")
    if len(lines) == 1:
        lines.append(texts("preset_open"))
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
            if not own or part != "bounds"
        ],
    )
    parts.append(discord.ui.ActionRow(ask))
    role_kind = discord.SelectDefaultValueType.role
    roles_menu: discord.ui.RoleSelect[Any] = discord.ui.RoleSelect(
        custom_id=f"darkroom:preset_roles:{name}",
        placeholder=texts("preset_field_roles"),
        min_values=0,
        max_values=OPTIONS_MAX,
        default_values=[
            discord.SelectDefaultValue(id=role, type=role_kind)
            for role in preset.roles[:OPTIONS_MAX]
        ],
    )
    if not own:
        parts.append(discord.ui.ActionRow(roles_menu))
    button: discord.ui.Button[Any] = discord.ui.Button(
        style=discord.ButtonStyle.secondary,
        label=texts("preset_as_text"),
        custom_id=f"darkroom:{mine}preset_text:{name}",
    )
    parts.append(discord.ui.ActionRow(button))
    view.add_item(discord.ui.Container(*parts))
    return view


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


def part_modal(preset: Preset, part: str, caller: Caller, *, own: bool = False) -> Modal:
    """Short fields, filled in."""
    texts = caller.texts
    title = texts("dialog_preset", name=preset.name)
    asked = Modal(f"darkroom:{OWN if own else ''}preset_part:{part}:{preset.name}", title)
    for field in fields.PARTS[part]:
        asked.text(
            field,
            texts(f"preset_field_{field}"),
            value=fields.text(preset, field),
            long=field in fields.LONG,
            required=field == "name",
        )
    return asked


def text_modal(was: str, preset: Preset, caller: Caller, *, own: bool = False) -> Modal:
    """The preset as its file would have it. Raises Refused where that is too long for a modal."""
    form = presets.to_form(preset)
    if len(form) > FORM_MAX:
        form = presets.to_toml([preset])
    if len(form) > FORM_MAX:
        raise Refused("preset_text_long", high=FORM_MAX)
    asked = Modal(
        f"darkroom:{OWN if own else ''}preset:{was}",
        caller.texts("dialog_preset", name=preset.name),
    )
    return asked.text("preset", caller.texts("dialog_preset_text"), value=form, long=True)


async def _change(
    interaction: Interaction,
    caller: Caller,
    name: str,
    change: Callable[[Preset], Preset],
    *,
    own: bool = False,
) -> None:
    """Keep the preset changed, and show it so. Raises Refused."""
    services = interaction.client.services

    def checked(now: Preset) -> Preset:
        return fields.checked(change(now), services.catalog)

    if own:
        new = await services.store.own_presets.change(caller.person.id, name, checked)
    else:
        new = await services.store.presets.change(_guild(caller), name, checked)
    await show(interaction, shown(new, caller, services.catalog, own=own))


async def _get(services: Services, caller: Caller, name: str, *, own: bool) -> Preset:
    if own:
        return await services.store.own_presets.get(caller.person.id, name)
    return await services.store.presets.get(_guild(caller), name)


def _guild(caller: Caller) -> int:
    permissions.check_person("/preset edit", caller)
    if caller.place.guild_id is None:
        raise Refused("preset_needs_server")
    return caller.place.guild_id


class PresetMenu(
    RespondingItem[discord.ui.Select[Any]],
    template=rf"darkroom:(?P<own>own_)?preset_set:(?P<field>model|sampler|aspect|part):{NAME}",
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
        own = bool(self.fields["own"])
        part = chosen if field == "part" else MENUS[field] if chosen == OTHER else ""
        if field == "part" or part:
            if part not in fields.PARTS:
                raise Refused("setting_gone")
            found = await _get(services, caller, name, own=own)
            await interaction.response.send_modal(part_modal(found, part, caller, own=own))
            return
        value = "" if chosen == NONE else chosen
        catalog, rules = services.catalog, services.requests.rules

        def change(now: Preset) -> Preset:
            if field == "aspect":
                return fields.sized(now, value, catalog, rules)
            return msgspec.structs.replace(now, **{field: value or None})

        await _change(interaction, caller, name, change, own=own)


class PresetRoles(
    RespondingItem[discord.ui.RoleSelect[Any]],
    template=rf"darkroom:preset_roles:{NAME}",
):
    """Chooses the roles that a preset is for."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Change them; those beyond what the menu shows stay."""
        chosen = tuple(role.id for role in self.item.values)

        def change(now: Preset) -> Preset:
            roles = dict.fromkeys((*chosen, *now.roles[OPTIONS_MAX:]))
            return msgspec.structs.replace(now, roles=tuple(roles))

        await _change(interaction, caller, self.fields["name"], change)


class PresetTextButton(
    RespondingItem[discord.ui.Button[Any]],
    template=rf"darkroom:(?P<own>own_)?preset_text:{NAME}",
):
    """Opens the preset as text."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """For those who would rather write it."""
        own, services = bool(self.fields["own"]), interaction.client.services
        found = await _get(services, caller, self.fields["name"], own=own)
        await interaction.response.send_modal(text_modal(found.name, found, caller, own=own))


ITEMS: Final = (PresetMenu, PresetRoles, PresetTextButton)


async def _on_part(
    _services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
    *,
    own: bool,
) -> None:
    """Handed-in short fields."""
    part, name = (*where, "", "")[:2]
    if part not in fields.PARTS:
        raise Refused("setting_gone")
    entered = {field: str(values.get(field) or "") for field in fields.PARTS[part]}
    await _change(interaction, caller, name, lambda now: fields.changed(now, entered), own=own)


async def _reopen_part(
    services: Services, caller: Caller, draft: Draft, _number: int, *, own: bool
) -> Modal:
    part, name = (*draft.where, "", "")[:2]
    if part not in fields.PARTS:
        raise Refused("setting_gone")
    return part_modal(await _get(services, caller, name, own=own), part, caller, own=own)


async def _on_own_text(
    _services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A preset of one's own, handed in as text."""
    found = presets.from_toml(str(values.get("preset") or ""))
    if len(found) != 1:
        raise Refused("preset_one_only")
    await _change(interaction, caller, ":".join(where), lambda _now: found[0], own=True)


async def _reopen_own_text(_s: Services, caller: Caller, draft: Draft, _number: int) -> Modal:
    was = ":".join(draft.where)
    return text_modal(was, Preset(name=was or "-"), caller, own=True)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    "preset_part": functools.partial(_on_part, own=False),
    "own_preset_part": functools.partial(_on_part, own=True),
    "own_preset": _on_own_text,
}
REOPEN: Final[Mapping[str, Reopener]] = {
    "preset_part": functools.partial(_reopen_part, own=False),
    "own_preset_part": functools.partial(_reopen_part, own=True),
    "own_preset": _reopen_own_text,
}
