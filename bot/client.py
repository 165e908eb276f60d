"""The Discord client: what it listens to, its commands, its start and its end."""

import hashlib
import json
from pathlib import Path
from typing import Any

import discord
import structlog
import yarl
from discord import app_commands

from bot import reactions
from bot.buttons import ActionButton
from bot.commands import imagine
from bot.config import Discord
from bot.delivery import Delivery
from bot.desk import Desk
from bot.locales import Texts
from generation.worker import Worker

log = structlog.get_logger(__name__)


class LoginError(Exception):
    """Discord does not accept the token."""


def intents() -> discord.Intents:
    """What the bot is told of: servers and reactions. None of it needs Discord's approval."""
    return discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True)


def point_to(settings: Discord) -> None:
    """Talk to the addresses of the settings instead of Discord's own."""
    if settings.api:
        discord.http.Route.BASE = f"{settings.api.rstrip('/')}/v10"
    if settings.gateway:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway)


class DarkroomClient(discord.Client):
    """Connects people to the desk, and the desk's jobs to their messages."""

    def __init__(self, settings: Discord, desk: Desk, worker: Worker, cache: Path) -> None:
        super().__init__(
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            # messages are found by id in the database; the client need not remember any
            max_messages=None,
        )
        self.desk = desk
        self.delivery = Delivery(self, desk.jobs, worker)
        self.tree = app_commands.CommandTree(self)
        self._settings = settings
        self._cache = cache

    async def setup_hook(self) -> None:
        """After the login and before the gateway: commands, buttons, what was left undone."""
        await self.tree.set_translator(LocaleTranslator())
        self.tree.add_command(imagine.command(self))
        self.add_dynamic_items(ActionButton)
        await self._sync()
        await self.delivery.recover()

    async def close(self) -> None:
        """Leave Discord."""
        await self.delivery.close()
        await super().close()

    async def on_ready(self) -> None:
        """Say so in the log."""
        log.info("connected", name=str(self.user), servers=len(self.guilds))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction on any message, also one from long before this start."""
        await reactions.on_reaction(self, payload)

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


class LocaleTranslator(app_commands.Translator):
    """Names and descriptions of commands and options in the languages of `bot/locales/`."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """The text of the string's key; None leaves English."""
        key: Any = string.extras.get("key")
        texts = Texts(str(locale))
        return texts(key) if texts.locale == str(locale) and key and texts.has(key) else None
