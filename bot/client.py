"""The Discord client: what it listens to, its commands, its start and its end."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import discord
import structlog
import yarl
from discord import app_commands

from bot.background import BackgroundTasks
from bot.config import DiscordSettings
from bot.features import catalogue, control_picture, mydata, queue, replay, stats
from bot.features.actions import menus, modals, reactions
from bot.features.history import command as history
from bot.features.history.pages import EntryMenu, HistoryPageButton
from bot.features.imagine import command as imagine
from bot.features.presets import command as presets
from bot.features.settings import command as settings
from bot.interactions.modal_submit import SubmitHandler, on_modal
from bot.locales import Texts
from bot.services import Client, Services
from bot.ui.action_buttons import ActionButton

log = structlog.get_logger(__name__)

MODELS_SECONDS: Final = 1.0
CLOSING_SECONDS: Final = 5.0
"""Answers under way have so long to be given when the bot stops."""

ITEMS: Final = (
    ActionButton,
    EntryMenu,
    HistoryPageButton,
    catalogue.CatalogueButton,
    control_picture.DescribeButton,
    mydata.DeleteButton,
    settings.SettingsMenu,
)
"""Buttons and menus that work for ever."""

MODALS: Final[Mapping[str, SubmitHandler]] = {
    **modals.ON_SUBMIT,
    **control_picture.ON_SUBMIT,
    **presets.ON_SUBMIT,
    **settings.ON_SUBMIT,
}
"""Who takes a modal, by the name in its custom_id."""

AnyCommand = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu


def commands(services: Services) -> Sequence[AnyCommand]:
    """The slash commands and context menus, as they are registered with Discord."""
    return [
        imagine.command(services),
        history.command(services),
        replay.command(services),
        queue.queue(services),
        queue.cancel(services),
        presets.PresetCommands(services),
        settings.command(services),
        catalogue.models(services),
        catalogue.loras(services),
        mydata.MyDataCommands(services),
        stats.command(services),
        *menus.commands(services),
        control_picture.command(services),
    ]


def intents() -> discord.Intents:
    """What the bot is told of: servers and reactions. None of it needs Discord's approval."""
    return discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True)


def point_to(settings: DiscordSettings) -> None:
    """Talk to the addresses of the settings instead of Discord's own."""
    if settings.api:
        discord.http.Route.BASE = f"{settings.api.rstrip('/')}/v10"
    if settings.gateway:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway)


class DarkroomClient(Client):
    """Brings what happens on Discord to the features that it is for."""

    def __init__(self, settings: DiscordSettings, cache: Path) -> None:
        super().__init__(intents())
        self.tree = _Tree(self)
        self._settings = settings
        self._later = BackgroundTasks()
        self._cache = cache

    async def setup_hook(self) -> None:
        """After the login and before the gateway: commands, buttons, what was left undone."""
        # most often they are known by now; those who have ten thousand new ones don't wait
        scanned = await self.services.catalog.ready(MODELS_SECONDS)
        await self.tree.set_translator(LocaleTranslator())
        for command in commands(self.services):
            self.tree.add_command(command)
        self.add_dynamic_items(*ITEMS)
        try:
            await self._sync()
        except (discord.DiscordServerError, aiohttp.ClientError) as error:
            log.warning("commands not registered; the next start tries again", error=str(error))
        await self.services.delivery.recover()
        if not scanned:
            self._later.spawn(self._complete_prompts())
        self.answers.spawn(self._finish_deletions())

    async def _finish_deletions(self) -> None:
        """Go on with what somebody was deleting when the bot stopped, on Discord too."""
        await self.services.store.personal.resume()
        self.services.delivery.take_back(await self.services.store.jobs.to_take_back())

    async def _complete_prompts(self) -> None:
        """Whether prompts are completed depends on the model that draws: now it is known which."""
        await self.services.catalog.ready()
        for command in commands(self.services):
            self.tree.add_command(command, override=True)
        try:
            await self._sync()
        except (discord.HTTPException, aiohttp.ClientError) as error:
            log.warning("commands not registered; the next start tries again", error=str(error))

    async def close(self) -> None:
        """Leave Discord; what is being answered is answered first.

        discord.py leaves the tasks that it started to themselves, with their queries half done.
        """
        await self._later.close(0)
        await self.answers.close(CLOSING_SECONDS)
        await self.services.delivery.close()
        await self.services.audit.close()
        await super().close()
        await self.answers.close(0)  # what came in last

    async def on_ready(self) -> None:
        """Say so in the log."""
        log.info("connected", name=str(self.user), servers=len(self.guilds))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction on any message, also one from long before this start."""
        self.answers.join()
        await reactions.on_reaction(self, payload)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction taken away."""
        self.answers.join()
        await reactions.on_reaction_removed(self, payload)

    async def on_interaction(self, interaction: discord.Interaction[Client]) -> None:
        """Modals; commands and buttons find their own way."""
        if interaction.type is discord.InteractionType.modal_submit:
            await on_modal(interaction, MODALS)

    async def _sync(self) -> None:
        """Register the commands where they have changed; Discord limits how often one may."""
        for guild_id in self._settings.guilds:
            guild = discord.Object(guild_id)
            self.tree.copy_global_to(guild=guild)
            await self.tree.sync(guild=guild)
        payload = [
            await command.get_translated_payload(self.tree, LocaleTranslator())
            for command in self.tree.get_commands()
        ]
        signature = json.dumps([self.application_id, discord.http.Route.BASE, payload])
        digest = hashlib.sha256(signature.encode()).hexdigest()
        file = self._cache / "commands.sha256"
        if file.is_file() and file.read_text() == digest:
            return
        await self.tree.sync()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(digest)
        log.info("commands registered", count=len(payload))


class _Tree(app_commands.CommandTree[DarkroomClient]):
    async def interaction_check(self, interaction: discord.Interaction[DarkroomClient], /) -> bool:
        """Begin a command or an autocomplete: everybody may, commands check for themselves."""
        interaction.client.answers.join()
        return True


class LocaleTranslator(app_commands.Translator):
    """Names and descriptions of commands and options in the languages of `bot/locales/`."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """The text of the string's key; None leaves English."""
        key = key_of(string, context.location)
        texts = Texts(str(locale))
        return texts(key) if texts.locale == str(locale) and key and texts.has(key) else None


def key_of(
    string: app_commands.locale_str, location: app_commands.TranslationContextLocation
) -> str:
    """The key of a name or description: its own, or that of the option or choice of that name."""
    match location:
        case _ if "key" in string.extras:
            return str(string.extras["key"])
        case app_commands.TranslationContextLocation.parameter_name:
            return f"option_{string.message}"
        case app_commands.TranslationContextLocation.choice_name:
            return "choice_" + re.sub(r"\W+", "_", string.message)
    return ""
