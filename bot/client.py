"""The Discord client: what it listens to, its commands, its start and its end."""

import asyncio
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import discord
import structlog
import yarl
from discord import app_commands

from bot import commands, handed_in, policy, reactions
from bot.answering import think
from bot.attachments import Prints
from bot.audit import Audit
from bot.buttons import ActionButton
from bot.commands.catalogue import CatalogueButton
from bot.commands.menus import ControlButton
from bot.commands.mydata import DeleteButton
from bot.commands.settings import SettingsMenu
from bot.config import DiscordSettings
from bot.delivery import Delivery
from bot.desk import Desk
from bot.history_view import EntryMenu, PageButton
from bot.locales import Texts
from bot.visits import Visit
from generation.job import Job

log = structlog.get_logger(__name__)

CLOSING_SECONDS: Final = 5.0
"""Answers under way have so long to be given when the bot stops."""


class LoginError(Exception):
    """Discord does not accept the token."""


def intents() -> discord.Intents:
    """What the bot is told of: servers and reactions. None of it needs Discord's approval."""
    return discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True)


def point_to(settings: DiscordSettings) -> None:
    """Talk to the addresses of the settings instead of Discord's own."""
    if settings.api:
        discord.http.Route.BASE = f"{settings.api.rstrip('/')}/v10"
    if settings.gateway:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway)


class DarkroomClient(discord.Client):
    """Connects people to the desk, and the desk's jobs to their messages."""

    def __init__(
        self, settings: DiscordSettings, desk: Desk, cache: Path, unsafe_from: float | None
    ) -> None:
        super().__init__(
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            # messages are found by id in the database; the client need not remember any
            max_messages=None,
        )
        self.desk = desk
        prints = Prints(desk.jobs, desk.settings, unsafe_from)
        self.delivery = Delivery(self, desk.jobs, desk.worker, prints)
        self.audit = Audit(self, desk.settings, desk.worker)
        desk.listen(self.audit.refused)
        self.tree = _Tree(self)
        self._answering: set[asyncio.Task[Any]] = set()
        self.started_at = datetime.now(UTC)
        self._settings = settings
        self._cache = cache

    async def setup_hook(self) -> None:
        """After the login and before the gateway: commands, buttons, what was left undone."""
        await self.tree.set_translator(LocaleTranslator())
        for command in commands.all_of(self):
            self.tree.add_command(command)
        self.add_dynamic_items(
            ActionButton,
            CatalogueButton,
            ControlButton,
            DeleteButton,
            EntryMenu,
            PageButton,
            SettingsMenu,
        )
        try:
            await self._sync()
        except (discord.DiscordServerError, aiohttp.ClientError) as error:
            log.warning("commands not registered; the next start tries again", error=str(error))
        await self.delivery.recover()

    async def close(self) -> None:
        """Leave Discord; what is being answered is answered first.

        discord.py leaves the tasks that it started to themselves, with their queries half done.
        """
        under_way = self._answering - {asyncio.current_task()}
        if under_way:
            await asyncio.wait(under_way, timeout=CLOSING_SECONDS)
        await self.delivery.close()
        await self.audit.close()
        await super().close()
        await asyncio.sleep(0)  # what came in last begins now
        late = self._answering - {asyncio.current_task()}
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def answers(self) -> None:
        """The current task answers somebody: the client does not end before it."""
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def on_ready(self) -> None:
        """Say so in the log."""
        log.info("connected", name=str(self.user), servers=len(self.guilds))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction on any message, also one from long before this start."""
        self.answers()
        await reactions.on_reaction(self, payload)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction taken away."""
        self.answers()
        await reactions.on_reaction_removed(self, payload)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Dialogs; commands and buttons find their own way."""
        if interaction.type is discord.InteractionType.modal_submit:
            await handed_in.hand_in(self, interaction)

    def check_permissions(
        self, interaction: discord.Interaction[Any], visit: Visit, *, private: bool
    ) -> None:
        """Refuse where the bot could not post an answer that all can see."""
        if interaction.is_guild_integration() and interaction.guild_id is not None and not private:
            policy.check_permissions(
                interaction.app_permissions,
                visit.texts,
                thread=isinstance(interaction.channel, discord.Thread),
            )

    async def acknowledge(self, interaction: discord.Interaction[Any], job: Job) -> None:
        """Answer with a job that is written down already, and follow it."""
        try:
            if not interaction.response.is_done():
                await think(interaction, private=job.origin.private)
        finally:
            # what can't be answered is delivered all the same, in another place
            self.delivery.watch(job)

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
        interaction.client.answers()
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
