"""`/preset`: the server's presets: seen by all, written by those who manage the server."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands
from discord.app_commands import AppCommandChannel, Choice, locale_str

from bot.access import permissions
from bot.access.caller import Caller
from bot.features.presets import panel
from bot.interactions.autocomplete import preset_choices
from bot.interactions.contexts import SERVERS
from bot.interactions.modal_submit import (
    SubmitHandler,
    part_of,
    text_of,
)
from bot.interactions.responding import Interaction, defer, reply_privately, responding, show
from bot.interactions.sight import job_by_number
from bot.pictures.uploads import FETCHING_ERRORS
from bot.services import Reopener, Services
from bot.ui.formatting import COLOUR, cut_lines, one_line, quoted, sentence
from bot.ui.modal import PLACES, Modal
from generation import preset as presets
from generation.preset import Preset
from generation.refusal import Refused
from storage.drafts import Draft

FILE_MAX: Final = 256 * 1024
"""Bytes of a file with presets."""
NAME_MAX: Final = 50
ABOUT_MAX: Final = 160


class _Place(app_commands.Transformer):
    """A channel that people use commands in, or in whose threads."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Those of the dialogs; discord.py's own for forums has one that Discord doesn't list."""
        return list(PLACES)

    async def transform(
        self, _interaction: discord.Interaction[Any], value: Any, /
    ) -> AppCommandChannel:
        """As it comes."""
        assert isinstance(value, AppCommandChannel)
        return value


class PresetCommands(app_commands.Group):
    """`/preset list|show|create|edit|delete|default|export|import`."""

    def __init__(self, services: Services) -> None:
        super().__init__(
            name=locale_str("preset", key="command_preset"),
            description=locale_str("This server's presets", key="command_preset_help"),
            allowed_contexts=SERVERS,
        )
        self.services = services
        self.presets = services.store.presets

    @app_commands.command(
        name=locale_str("list", key="command_preset_list"),
        description=locale_str("All presets of this server", key="command_preset_list_help"),
    )
    async def list_(self, interaction: Interaction) -> None:
        """All presets, with the defaults marked."""
        async with responding(interaction) as caller:
            guild_id = await self._enter(caller)
            found = await self.presets.all_of(guild_id)
            embed = _list_embed(found, caller)
            await interaction.response.send_message(embed=embed, ephemeral=True)

    @app_commands.command(
        name=locale_str("show", key="command_preset_show"),
        description=locale_str("What a preset holds", key="command_preset_show_help"),
    )
    @app_commands.describe(name=locale_str("the preset", key="option_preset_help"))
    async def show(self, interaction: Interaction, name: str) -> None:
        """One preset, as its file would have it."""
        async with responding(interaction) as caller:
            found = await self.presets.get(await self._enter(caller), name)
            if not permissions.may_see(found, caller):
                presets.check_roles(found, caller.person.roles)
            await reply_privately(interaction, _code(found))

    @app_commands.command(
        name=locale_str("create", key="command_preset_create"),
        description=locale_str(
            "Make a preset, empty or from a picture", key="command_preset_create_help"
        ),
    )
    @app_commands.describe(
        name=locale_str("its name", key="option_preset_name_help"),
        job=locale_str("the number of a picture to take it from", key="option_preset_job_help"),
    )
    async def create(
        self,
        interaction: Interaction,
        name: app_commands.Range[str, 1, NAME_MAX],
        job: int | None = None,
    ) -> None:
        """Make a new preset, to be filled in in its panel."""
        async with responding(interaction) as caller:
            guild_id = await self._enter(caller)
            await self.presets.check_free(guild_id, name)
            new = Preset(name=name.strip())
            if job is not None:
                found = await job_by_number(
                    self.services, interaction, caller, "/preset create job", job
                )
                new = presets.of_request(name.strip(), found.request)
            [new] = presets.from_toml(presets.to_toml([new]))
            await self.presets.write(guild_id, new)
            await show(interaction, panel.shown(new, caller, self.services.catalog))

    @app_commands.command(
        name=locale_str("edit", key="command_preset_edit"),
        description=locale_str("Change a preset", key="command_preset_edit_help"),
    )
    @app_commands.describe(name=locale_str("the preset", key="option_preset_help"))
    async def edit(self, interaction: Interaction, name: str) -> None:
        """Change a preset in its panel."""
        async with responding(interaction) as caller:
            found = await self.presets.get(await self._enter(caller), name)
            await show(interaction, panel.shown(found, caller, self.services.catalog))

    @app_commands.command(
        name=locale_str("delete", key="command_preset_delete"),
        description=locale_str("Delete a preset", key="command_preset_delete_help"),
    )
    @app_commands.describe(name=locale_str("the preset", key="option_preset_help"))
    async def delete(self, interaction: Interaction, name: str) -> None:
        """Delete a preset; what was the default with it has none."""
        async with responding(interaction) as caller:
            guild_id = await self._enter(caller)
            found = await self.presets.get(guild_id, name)
            await self.presets.delete(guild_id, found.name)
            said = sentence(caller.texts, "preset_deleted", {"name": found.name})
            await reply_privately(interaction, said)

    @app_commands.command(
        name=locale_str("default", key="command_preset_default"),
        description=locale_str(
            "What holds where nobody names a preset", key="command_preset_default_help"
        ),
    )
    @app_commands.describe(
        name=locale_str("the preset; none if left out", key="option_preset_or_none_help"),
        channel=locale_str("only in this channel", key="option_preset_channel_help"),
    )
    async def default(
        self,
        interaction: Interaction,
        name: str | None = None,
        channel: app_commands.Transform[AppCommandChannel, _Place] | None = None,
    ) -> None:
        """Set or take away the default of the server or of one channel."""
        async with responding(interaction) as caller:
            guild_id = await self._enter(caller)
            place = None if channel is None else channel.id
            guild = await self.presets.set_default(guild_id, name, channel_id=place)
            name = guild.default_preset if place is None else guild.channel_presets.get(place)
            said = "preset_default_none" if name is None else "preset_default_set"
            await reply_privately(interaction, sentence(caller.texts, said, {"name": name or ""}))

    @app_commands.command(
        name=locale_str("export", key="command_preset_export"),
        description=locale_str("All presets as a file", key="command_preset_export_help"),
    )
    async def export(self, interaction: Interaction) -> None:
        """One TOML file with every preset."""
        async with responding(interaction) as caller:
            every = await self.presets.all_of(await self._enter(caller))
            found = [preset for preset in every if permissions.may_see(preset, caller)]
            content = presets.to_toml(found).encode()
            file = discord.File(io.BytesIO(content), "presets.toml")
            said = ""
            if len(found) < len(every):
                said = caller.texts("presets_not_exported", count=len(every) - len(found))
            await interaction.response.send_message(said or None, file=file, ephemeral=True)

    @app_commands.command(
        name=locale_str("import", key="command_preset_import"),
        description=locale_str("Take presets from a file", key="command_preset_import_help"),
    )
    @app_commands.describe(
        file=locale_str("a file that /preset export made", key="option_preset_file_help"),
        replace=locale_str("replace those of the same name", key="option_preset_replace_help"),
    )
    async def import_(
        self, interaction: Interaction, file: discord.Attachment, replace: bool = False
    ) -> None:
        """Take over every preset of a file, or none of them."""
        async with responding(interaction) as caller:
            guild_id = await self._enter(caller)
            if file.size > FILE_MAX:
                raise Refused("preset_file_too_large", file=file.filename)
            await defer(interaction, private=True)
            try:
                text = (await file.read()).decode()
            except (*FETCHING_ERRORS, UnicodeDecodeError):
                raise Refused("preset_file_unreadable", file=file.filename) from None
            found = await asyncio.to_thread(presets.from_toml, text)
            without_roles = [
                p if self._roles_are_here(interaction, p) else presets.without_roles(p)
                for p in found
            ]
            await self.presets.put_many(guild_id, without_roles, replace=replace)
            said = caller.texts("presets_imported", count=len(found))
            if without_roles != found:
                said += "\n" + caller.texts("preset_roles_dropped")
            await interaction.followup.send(said, ephemeral=True)

    @show.autocomplete("name")
    @edit.autocomplete("name")
    @delete.autocomplete("name")
    @default.autocomplete("name")
    async def _complete(self, interaction: Interaction, typed: str) -> list[Choice[str]]:
        return await preset_choices(self.services, interaction, typed, permissions.may_see)

    async def _enter(self, caller: Caller) -> int:
        """The server's id; a server that was never here gets its first presets."""
        guild_id = caller.place.guild_id
        if guild_id is None:
            raise Refused("preset_needs_server")
        await self.presets.ensure_starters(guild_id, presets.starters(self.services.catalog))
        return guild_id

    def _roles_are_here(self, interaction: Interaction, preset: Preset) -> bool:
        guild = interaction.guild
        return guild is not None and all(guild.get_role(role) for role in preset.roles)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Mapping[str, Any],
) -> None:
    """A handed-in dialog with a preset: a new one, or one that was changed or renamed."""
    permissions.check_person("/preset edit", caller)
    if caller.place.guild_id is None:
        raise Refused("preset_needs_server")
    found = presets.from_toml(text_of(values, "preset"))
    if len(found) != 1:
        raise Refused("preset_one_only")
    [new] = found
    presets.check(new, services.catalog)
    was = part_of(where, 0) or None
    await services.store.presets.write(caller.place.guild_id, new, was=was)
    said = sentence(caller.texts, "preset_saved", {"name": new.name})
    await reply_privately(interaction, f"{said}\n{_code(new)}")


async def _reopen(_services: Services, caller: Caller, draft: Draft, _number: int) -> Modal:
    was = draft.where[0] if draft.where else ""
    return panel.text_modal(was, Preset(name=was or "-"), caller)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {"preset": _on_submit, **panel.ON_SUBMIT}
REOPEN: Final[Mapping[str, Reopener]] = {"preset": _reopen, **panel.REOPEN}


def _code(preset: Preset) -> str:
    toml = presets.to_toml([preset])[:1900].replace("```", "ˋˋˋ")
    return f"```toml\n{toml}\n```"


def _list_embed(found: Sequence[Preset], caller: Caller) -> discord.Embed:
    """All presets of a server, the defaults marked; what one for others holds is not said."""
    settings, texts = caller.guild, caller.texts
    lines = []
    for preset in found:
        marks = []
        if preset.name == settings.default_preset:
            marks.append(texts("preset_is_default"))
        marks += [f"<#{c}>" for c, name in settings.channel_presets.items() if name == preset.name]
        marks += [f"<@&{role}>" for role in preset.roles]
        model = preset.model if permissions.may_see(preset, caller) else ""
        about = preset.description or model or ""
        lines.append(
            " · ".join([f"**{quoted(preset.name, NAME_MAX)}**", *marks])
            + (f"\n-# {quoted(one_line(about), ABOUT_MAX)}" if about else "")
        )
    text = "\n".join(lines) or texts("presets_none")
    return discord.Embed(title=texts("presets_title"), description=cut_lines(text), colour=COLOUR)
