"""`/mypreset`: one's own presets, which hold wherever one is."""

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.features.presets import panel
from bot.interactions.autocomplete import choices
from bot.interactions.contexts import EVERYWHERE, INSTALLS
from bot.interactions.responding import Interaction, reply_privately, responding, show
from bot.services import Services
from bot.ui.formatting import COLOUR, cut_lines, one_line, quoted, sentence
from generation import preset as presets
from generation.preset import Preset

NAME_MAX = 50
ABOUT_MAX = 160


class OwnPresetCommands(app_commands.Group):
    """`/mypreset list|create|edit|delete|default`."""

    def __init__(self, services: Services) -> None:
        super().__init__(
            name=locale_str("mypreset", key="command_mypreset"),
            description=locale_str("Your own presets, for everywhere", key="command_mypreset_help"),
            allowed_contexts=EVERYWHERE,
            allowed_installs=INSTALLS,
        )
        self.services = services
        self.presets = services.store.own_presets

    @app_commands.command(
        name=locale_str("list", key="command_preset_list"),
        description=locale_str("All your presets", key="command_mypreset_list_help"),
    )
    async def list_(self, interaction: Interaction) -> None:
        """All presets, with the default marked."""
        async with responding(interaction) as caller:
            texts = caller.texts
            lines = []
            for found in await self.presets.all_of(caller.person.id):
                mark = texts("preset_is_default") if found.name == caller.own.own_preset else ""
                about = one_line(found.description or found.model or "")
                line = " · ".join(filter(None, [f"**{quoted(found.name, NAME_MAX)}**", mark]))
                lines.append(line + (f"\n-# {quoted(about, ABOUT_MAX)}" if about else ""))
            text = "\n".join(lines) or texts("own_presets_none")
            embed = discord.Embed(
                title=texts("own_presets_title"), description=cut_lines(text), colour=COLOUR
            )
            await interaction.response.send_message(embed=embed, ephemeral=True)

    @app_commands.command(
        name=locale_str("create", key="command_preset_create"),
        description=locale_str("Make a preset of your own", key="command_mypreset_create_help"),
    )
    @app_commands.describe(name=locale_str("its name", key="option_preset_name_help"))
    async def create(
        self, interaction: Interaction, name: app_commands.Range[str, 1, NAME_MAX]
    ) -> None:
        """Make a new preset, to be filled in in its panel."""
        async with responding(interaction) as caller:
            [new] = presets.from_toml(presets.to_toml([Preset(name=name.strip())]))
            await self.presets.add(caller.person.id, new)
            await show(interaction, panel.shown(new, caller, self.services.catalog, own=True))

    @app_commands.command(
        name=locale_str("edit", key="command_preset_edit"),
        description=locale_str("Change a preset of yours", key="command_mypreset_edit_help"),
    )
    @app_commands.describe(name=locale_str("the preset", key="option_preset_help"))
    async def edit(self, interaction: Interaction, name: str) -> None:
        """Change a preset in its panel."""
        async with responding(interaction) as caller:
            found = await self.presets.get(caller.person.id, name)
            await show(interaction, panel.shown(found, caller, self.services.catalog, own=True))

    @app_commands.command(
        name=locale_str("delete", key="command_preset_delete"),
        description=locale_str("Delete a preset of yours", key="command_mypreset_delete_help"),
    )
    @app_commands.describe(name=locale_str("the preset", key="option_preset_help"))
    async def delete(self, interaction: Interaction, name: str) -> None:
        """Delete a preset, and be it the default."""
        async with responding(interaction) as caller:
            found = await self.presets.get(caller.person.id, name)
            await self.presets.delete(caller.person.id, found.name)
            said = sentence(caller.texts, "preset_deleted", {"name": found.name})
            await reply_privately(interaction, said)

    @app_commands.command(
        name=locale_str("default", key="command_preset_default"),
        description=locale_str(
            "What holds for you where you name no preset", key="command_mypreset_default_help"
        ),
    )
    @app_commands.describe(
        name=locale_str("the preset; none if left out", key="option_preset_or_none_help")
    )
    async def default(self, interaction: Interaction, name: str | None = None) -> None:
        """Set or take away one's own default."""
        async with responding(interaction) as caller:
            named = await self.presets.set_default(caller.person.id, name)
            said = "preset_default_none" if named is None else "preset_default_set"
            await reply_privately(interaction, sentence(caller.texts, said, {"name": named or ""}))

    @edit.autocomplete("name")
    @delete.autocomplete("name")
    @default.autocomplete("name")
    async def _complete(self, interaction: Interaction, typed: str) -> list[Choice[str]]:
        found = await self.presets.all_of(interaction.user.id)
        return choices([preset.name for preset in found], typed)
