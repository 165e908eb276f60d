"""`/preset` and `/mypreset`: the server's presets, seen by all and written by those who manage it,
and one's own, which hold wherever one is.
"""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands
from discord.app_commands import AppCommandChannel, Choice, locale_str

from bot.access.caller import Caller
from bot.features.presets import panel
from bot.features.presets.shelf import OWN, SERVER, Shelf
from bot.interactions.autocomplete import choices, quiet
from bot.interactions.callers import caller_of
from bot.interactions.contexts import EVERYWHERE, INSTALLS, SERVERS, Callback, Command
from bot.interactions.responding import (
    Interaction,
    answer,
    defer,
    reply_privately,
    responding,
    show,
)
from bot.interactions.sight import job_by_number
from bot.pictures.uploads import FETCHING_ERRORS
from bot.services import Client, Services
from bot.ui.formatting import COLOUR, cut_lines, one_line, quoted, sentence, text_file
from bot.ui.modal import PLACES
from generation import preset as presets
from generation import preset_files, preset_making
from generation.preset import Preset
from generation.refusal import Refused

FILE_MAX: Final = 256 * 1024
"""Bytes of a file with presets."""
NAME_MAX: Final = 50
ABOUT_MAX: Final = 160
TOML_MAX: Final = 1900
"""Characters of a preset's text in a message; a longer one becomes a file."""

Make = Callable[[Services, Shelf], Callback]


class _PlaceOption(app_commands.Transformer[Client]):
    """A channel that people use commands in, or in whose threads."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Those of the dialogs; discord.py's own for forums has one that Discord doesn't list."""
        return list(PLACES)

    async def transform(self, _interaction: Interaction, value: Any, /) -> AppCommandChannel:
        """As it comes."""
        assert isinstance(value, AppCommandChannel)
        return value


_NAME: Final = locale_str("the preset", key="option_preset_help")
_NAME_OR_NONE: Final = locale_str("the preset; none if left out", key="option_preset_or_none_help")


def _list(services: Services, shelf: Shelf) -> Callback:
    """All presets, with the defaults marked."""

    async def list_(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            found = await shelf.store(services).all_of(await shelf.owner(services, caller))
            embed = _list_embed(found, caller, shelf)
            await interaction.response.send_message(embed=embed, ephemeral=True)

    return list_


def _show(services: Services, shelf: Shelf) -> Callback:
    """One preset, as its file would have it."""

    @app_commands.describe(name=_NAME)
    async def show_(interaction: Interaction, name: str) -> None:
        async with responding(interaction) as caller:
            found = await shelf.store(services).get(await shelf.owner(services, caller), name)
            if not shelf.may_see(found, caller):
                presets.check_roles(found, caller.person.roles)
            await reply_privately(interaction, **_shown(found))

    return show_


def _create(services: Services, shelf: Shelf) -> Callback:
    """Make a new preset, to be filled in in its panel."""

    @app_commands.describe(
        name=locale_str("its name", key="option_preset_name_help"),
        job=locale_str("the number of a picture to take it from", key="option_preset_job_help"),
    )
    async def create(
        interaction: Interaction,
        name: app_commands.Range[str, 1, NAME_MAX],
        job: int | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            owner_id = await shelf.owner(services, caller)
            new = Preset(name=name.strip())
            if job is not None:
                act = f"/{shelf.command} create job"
                found = await job_by_number(services, interaction, caller, act, job)
                new = preset_making.of_request(name.strip(), found.request)
            [new] = preset_files.from_toml(preset_files.to_toml([new]))
            await shelf.store(services).write(owner_id, new)
            await show(interaction, panel.shown(new, caller, services.catalog, shelf))

    return create


def _edit(services: Services, shelf: Shelf) -> Callback:
    """Change a preset in its panel."""

    @app_commands.describe(name=_NAME)
    async def edit(interaction: Interaction, name: str) -> None:
        async with responding(interaction) as caller:
            found = await shelf.store(services).get(await shelf.owner(services, caller), name)
            await show(interaction, panel.shown(found, caller, services.catalog, shelf))

    return edit


def _delete(services: Services, shelf: Shelf) -> Callback:
    """Delete a preset; what was the default with it has none."""

    @app_commands.describe(name=_NAME)
    async def delete(interaction: Interaction, name: str) -> None:
        async with responding(interaction) as caller:
            owner_id = await shelf.owner(services, caller)
            found = await shelf.store(services).get(owner_id, name)
            await shelf.store(services).delete(owner_id, found.name)
            said = sentence(caller.texts, "preset_deleted", {"name": found.name})
            await reply_privately(interaction, said)

    return delete


def _default(services: Services, shelf: Shelf) -> Callback:
    """Set or take away one's own default, or that of the server or of one channel."""

    @app_commands.describe(name=_NAME_OR_NONE)
    async def own(interaction: Interaction, name: str | None = None) -> None:
        async with responding(interaction) as caller:
            named = await services.store.own_presets.set_default(caller.person.id, name)
            await _say_default(interaction, caller, named)

    @app_commands.describe(
        name=_NAME_OR_NONE,
        channel=locale_str("only in this channel", key="option_preset_channel_help"),
    )
    async def of_server(
        interaction: Interaction,
        name: str | None = None,
        channel: app_commands.Transform[AppCommandChannel, _PlaceOption] | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            guild_id = await shelf.owner(services, caller)
            place = None if channel is None else channel.id
            guild = await services.store.presets.set_default(guild_id, name, channel_id=place)
            named = guild.default_preset if place is None else guild.channel_presets.get(place)
            await _say_default(interaction, caller, named)

    return own if shelf.own else of_server


async def _say_default(interaction: Interaction, caller: Caller, name: str | None) -> None:
    said = "preset_default_none" if name is None else "preset_default_set"
    await reply_privately(interaction, sentence(caller.texts, said, {"name": name or ""}))


def _export(services: Services, shelf: Shelf) -> Callback:
    """One TOML file with every preset."""

    async def export(interaction: Interaction) -> None:
        async with responding(interaction) as caller:
            every = await shelf.store(services).all_of(await shelf.owner(services, caller))
            found = [preset for preset in every if shelf.may_see(preset, caller)]
            if not every:
                raise Refused("own_presets_none" if shelf.own else "presets_none")
            file = discord.File(io.BytesIO(preset_files.to_toml(found).encode()), "presets.toml")
            said = ""
            if len(found) < len(every):
                said = caller.texts("presets_not_exported", count=len(every) - len(found))
            await interaction.response.send_message(said or None, file=file, ephemeral=True)

    return export


def _import(services: Services, shelf: Shelf) -> Callback:
    """Take over every preset of a file, or none of them."""

    @app_commands.describe(
        file=locale_str("a file that export made", key="option_preset_file_help"),
        replace=locale_str("replace those of the same name", key="option_preset_replace_help"),
    )
    async def import_(
        interaction: Interaction, file: discord.Attachment, replace: bool = False
    ) -> None:
        async with responding(interaction) as caller:
            owner_id = await shelf.owner(services, caller)
            if file.size > FILE_MAX:
                raise Refused("preset_file_too_large", file=file.filename)
            await defer(interaction, private=True)
            try:
                text = (await file.read()).decode()
            except (*FETCHING_ERRORS, UnicodeDecodeError):
                raise Refused("preset_file_unreadable", file=file.filename) from None
            found = await asyncio.to_thread(preset_files.from_toml, text)
            fitting = [
                p if _roles_are_there(interaction, p, shelf) else presets.without_roles(p)
                for p in found
            ]
            await shelf.store(services).put_many(owner_id, fitting, replace=replace)
            said = caller.texts("presets_imported", count=len(found))
            if fitting != found:
                dropped = "own_preset_roles_dropped" if shelf.own else "preset_roles_dropped"
                said += "\n" + caller.texts(dropped)
            await answer(interaction, content=said)

    return import_


def _roles_are_there(interaction: Interaction, preset: Preset, shelf: Shelf) -> bool:
    guild = None if shelf.own else interaction.guild
    return not preset.roles or (guild is not None and all(map(guild.get_role, preset.roles)))


COMMANDS: Final[Mapping[str, Make]] = {
    "list": _list,
    "show": _show,
    "create": _create,
    "edit": _edit,
    "delete": _delete,
    "default": _default,
    "export": _export,
    "import": _import,
}
HELP: Final[Mapping[str, Mapping[str, locale_str]]] = {
    "preset": {
        "list": locale_str("All presets of this server", key="command_preset_list_help"),
        "show": locale_str("What a preset holds", key="command_preset_show_help"),
        "create": locale_str(
            "Make a preset, empty or from a picture", key="command_preset_create_help"
        ),
        "edit": locale_str("Change a preset", key="command_preset_edit_help"),
        "delete": locale_str("Delete a preset", key="command_preset_delete_help"),
        "default": locale_str(
            "What holds where nobody names a preset", key="command_preset_default_help"
        ),
        "export": locale_str("All presets as a file", key="command_preset_export_help"),
        "import": locale_str("Take presets from a file", key="command_preset_import_help"),
    },
    "mypreset": {
        "list": locale_str("All your presets", key="command_mypreset_list_help"),
        "show": locale_str("What a preset of yours holds", key="command_mypreset_show_help"),
        "create": locale_str(
            "Make a preset of your own, empty or from a picture",
            key="command_mypreset_create_help",
        ),
        "edit": locale_str("Change a preset of yours", key="command_mypreset_edit_help"),
        "delete": locale_str("Delete a preset of yours", key="command_mypreset_delete_help"),
        "default": locale_str(
            "What holds for you where you name no preset", key="command_mypreset_default_help"
        ),
        "export": locale_str("All your presets as a file", key="command_mypreset_export_help"),
        "import": locale_str(
            "Take presets of your own from a file", key="command_mypreset_import_help"
        ),
    },
}


def groups(services: Services) -> Sequence[app_commands.Group]:
    """`/preset` and `/mypreset`."""
    server = app_commands.Group(
        name=locale_str("preset", key="command_preset"),
        description=locale_str("This server's presets", key="command_preset_help"),
        allowed_contexts=SERVERS,
    )
    own = app_commands.Group(
        name=locale_str("mypreset", key="command_mypreset"),
        description=locale_str("Your own presets, for everywhere", key="command_mypreset_help"),
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )
    for group, shelf in ((server, SERVER), (own, OWN)):
        for name, make in COMMANDS.items():
            group.add_command(_command(services, shelf, name, make))
    return server, own


def _command(services: Services, shelf: Shelf, name: str, make: Make) -> Command:
    command = app_commands.Command[Any, ..., None](
        name=locale_str(name, key=f"command_preset_{name}"),
        description=HELP[shelf.command][name],
        callback=make(services, shelf),
    )

    async def complete(interaction: Interaction, typed: str) -> list[Choice[str]]:
        caller = await caller_of(interaction)
        try:
            owner_id = await shelf.owner(services, caller)
        except Refused:
            return []
        found = await shelf.store(services).all_of(owner_id)
        return choices([preset.name for preset in found if shelf.may_see(preset, caller)], typed)

    if name in ("show", "edit", "delete", "default"):
        command.autocomplete("name")(quiet(complete))
    return command


def _shown(preset: Preset) -> dict[str, Any]:
    """The preset as text, or where a message does not hold it, as a file."""
    toml = preset_files.to_toml([preset])
    if len(toml) > TOML_MAX:
        return {"text": "", "file": text_file(toml, "preset.toml")}
    return {"text": f"```toml\n{toml.replace('```', 'ˋˋˋ')}\n```"}


def _list_embed(found: Sequence[Preset], caller: Caller, shelf: Shelf) -> discord.Embed:
    """All presets, the defaults marked; what one for others holds is not said."""
    settings, texts = caller.guild, caller.texts
    default = caller.own.own_preset if shelf.own else settings.default_preset
    in_channels = {} if shelf.own else settings.channel_presets
    lines = []
    for preset in found:
        marks = []
        if preset.name == default:
            marks.append(texts("preset_is_default"))
        channels = [f"<#{c}>" for c, name in in_channels.items() if name == preset.name]
        roles = [f"<@&{role}>" for role in preset.roles]
        marks += [panel.beginning(named, texts) for named in (channels, roles) if named]
        model = preset.model if shelf.may_see(preset, caller) else ""
        about = preset.description or model or ""
        lines.append(
            " · ".join([f"**{quoted(preset.name, NAME_MAX)}**", *marks])
            + (f"\n-# {quoted(one_line(about), ABOUT_MAX)}" if about else "")
        )
    none = "own_presets_none" if shelf.own else "presets_none"
    title = texts("own_presets_title" if shelf.own else "presets_title")
    text = "\n".join(lines) or texts(none)
    return discord.Embed(title=title, description=cut_lines(text), colour=COLOUR)
