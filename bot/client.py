"""The Discord client: what it listens to, its commands, its start and its end."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import discord
import structlog
import yarl
from discord import app_commands

from bot.background import BackgroundTasks, Lanes
from bot.config import DiscordSettings
from bot.connection import told_wait
from bot.delivery.failures import SENDING_ERRORS
from bot.features import (
    approvals,
    catalogue,
    control_picture,
    control_preview,
    describe,
    drafts,
    edit_words,
    grid,
    image_prompt,
    info,
    moderation,
    mydata,
    pause,
    queue,
    replay,
    stats,
    upscale,
)
from bot.features.actions import (
    control_menu,
    control_modal,
    extend_modal,
    menus,
    modals,
    reactions,
    redraw_modal,
    redraw_upload,
)
from bot.features.blend import command as blend
from bot.features.blend import menu as blend_menu
from bot.features.help import command as help_
from bot.features.help import direct_messages, welcome
from bot.features.history import command as history
from bot.features.history.pages import EntryMenu, HistoryPageButton
from bot.features.imagine import command as imagine
from bot.features.presets import command as presets
from bot.features.presets import panel as preset_panel
from bot.features.settings import command as settings
from bot.interactions.command_data import check_command
from bot.interactions.command_tree import RoomyTree
from bot.interactions.contexts import AnyCommand
from bot.interactions.modal_submit import SubmitHandler, on_modal
from bot.interactions.responding import AnsweredError, responding
from bot.locales import Texts
from bot.services import Client, Reopener, Services
from bot.ui.action_buttons import ActionButton, MoreButton
from generation.refusal import Refused
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

MODELS_SECONDS: Final = 1.0
"""How long the commands wait for the first look at the models."""
REGISTER_WAITS: Final = (5.0, 15.0, 60.0, 300.0)
"""Seconds between tries to register the commands, unless Discord says how long."""
RECOVER_WAIT: Final = 5.0
REACTIONS_AT_ONCE: Final = 8
REACTIONS_EACH: Final = 1000
REACTIONS_MAX: Final = 20_000
"""Reactions that are answered at a time, and that wait: of one person, and of all."""
CLOSING_SECONDS: Final = 5.0
"""Answers under way have so long to be given when the bot stops."""

ITEMS: Final = (
    ActionButton,
    MoreButton,
    approvals.ApprovalButton,
    EntryMenu,
    HistoryPageButton,
    catalogue.CatalogueButton,
    control_picture.DescribeButton,
    control_menu.GoOnButton,
    drafts.DraftButton,
    image_prompt.PromptedButton,
    grid.GridButton,
    grid.GridPicker,
    info.DrawAgainButton,
    mydata.DeleteButton,
    *preset_panel.ITEMS,
    settings.SettingsListButton,
    settings.SettingsMenu,
    settings.SettingsRemoveMenu,
)
"""Buttons and menus that work for ever."""

MODALS: Final[Mapping[str, SubmitHandler]] = {
    **modals.ON_SUBMIT,
    **extend_modal.ON_SUBMIT,
    **redraw_modal.ON_SUBMIT,
    **redraw_upload.ON_SUBMIT,
    **control_modal.ON_SUBMIT,
    **control_menu.ON_SUBMIT,
    **control_picture.ON_SUBMIT,
    **image_prompt.ON_SUBMIT,
    **blend_menu.ON_SUBMIT,
    **edit_words.ON_SUBMIT,
    **blend.ON_SUBMIT,
    **grid.ON_SUBMIT,
    **imagine.ON_SUBMIT,
    **preset_panel.ON_SUBMIT,
    **settings.ON_SUBMIT,
}
"""Who takes a modal, by the name in its custom_id."""

REOPEN: Final[Mapping[str, Reopener]] = {
    **modals.REOPEN,
    **extend_modal.REOPEN,
    **redraw_modal.REOPEN,
    **redraw_upload.REOPEN,
    **control_modal.REOPEN,
    **control_menu.REOPEN,
    **control_picture.REOPEN,
    **image_prompt.REOPEN,
    **blend_menu.REOPEN,
    **edit_words.REOPEN,
    **blend.REOPEN,
    **grid.REOPEN,
    **imagine.REOPEN,
    **preset_panel.REOPEN,
    **settings.REOPEN,
}
"""Who opens a modal again that was refused, by the same name."""


def known(interaction: discord.Interaction[Client]) -> bool:
    """Whether there is an item for the custom_id of a component that somebody used."""
    data: Mapping[str, Any] = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    return any(
        item.__discord_ui_compiled_template__.fullmatch(custom_id) is not None for item in ITEMS
    )


OnReaction = Callable[[Client, discord.RawReactionActionEvent], Coroutine[Any, Any, None]]


def commands(services: Services) -> Sequence[AnyCommand]:
    """The slash commands and context menus, as they are registered with Discord."""
    return [
        imagine.command(services),
        history.command(services),
        replay.command(services),
        upscale.command(services),
        blend.command(services),
        control_preview.command(services),
        describe.command(services),
        edit_words.command(services),
        grid.command(services),
        info.command(services),
        queue.queue(services),
        queue.cancel(services),
        *presets.groups(services),
        settings.command(services),
        moderation.group(services),
        catalogue.models(services),
        catalogue.loras(services),
        mydata.MyDataCommands(services),
        stats.command(services),
        pause.pause(services),
        pause.resume(services),
        help_.command(services),
        *menus.commands(services),
        control_picture.command(services),
        control_menu.command(services),
        *image_prompt.commands(services),
        blend_menu.menu(services),
        edit_words.menu(services),
    ]


def intents() -> discord.Intents:
    """What the bot is told of: servers, reactions, and what people write to it alone. None of it
    needs Discord's approval.
    """
    return discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True, dm_messages=True)


def point_to(settings: DiscordSettings) -> None:
    """Talk to the addresses of the settings instead of Discord's own."""
    if settings.api:
        discord.http.Route.BASE = f"{settings.api.rstrip('/')}/v10"
    if settings.gateway:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway)


class DarkroomClient(Client):
    """Brings what happens on Discord to the features that it is for."""

    def __init__(
        self, settings: DiscordSettings, cache: Path, trace: aiohttp.TraceConfig | None = None
    ) -> None:
        super().__init__(
            intents(), shard_ids=settings.shards, shard_count=settings.shard_count, trace=trace
        )
        self.tree = _Tree(self)
        self.reopeners = REOPEN
        self._settings = settings
        self._cache = cache
        self._upkeep = BackgroundTasks()
        self._reactions = Lanes(
            self.answers, at_once=REACTIONS_AT_ONCE, each=REACTIONS_EACH, all_=REACTIONS_MAX
        )
        self._left_out = Lanes(self.answers, at_once=1, each=1, all_=REACTIONS_EACH)
        self.registered = asyncio.Event()
        """Whether Discord knows the commands."""
        self._greeted = False

    async def setup_hook(self) -> None:
        """After the login and before the gateway: commands, buttons, what was left undone."""
        # most often they are known by now; those who have ten thousand new ones don't wait
        scanned = await self.services.catalog.ready(MODELS_SECONDS)
        await self.tree.set_translator(LocaleTranslator())
        for command in commands(self.services):
            self.tree.add_command(command)
        self.add_dynamic_items(*ITEMS)
        for guild_id in (None, *self._settings.guilds):
            self._upkeep.spawn(self._register(guild_id, complete=scanned))
        self._upkeep.spawn(self._recover())

    async def close(self) -> None:
        """Leave Discord; what is being answered is answered first.

        discord.py leaves the tasks that it started to themselves, with their queries half done.
        """
        await self._upkeep.close(0)
        await self.answers.close(CLOSING_SECONDS)
        await self.services.delivery.close()
        await self.services.audit.close()
        await super().close()
        await self.answers.close(0)  # what came in last

    async def on_shard_connect(self, shard_id: int) -> None:
        """A shard's connection to the gateway stands."""
        self.online_shards.add(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        """It stands again."""
        self.online_shards.add(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """It is lost."""
        self.online_shards.discard(shard_id)

    async def on_ready(self) -> None:
        """Say so in the log; greet the servers that it was invited to before it first ran."""
        log.info(
            "connected", name=str(self.user), servers=len(self.guilds), shards=len(self.shards)
        )
        if not self._greeted:
            self._greeted = True
            for guild in self.guilds:
                self._upkeep.spawn(self._greet(guild))

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Greet the server."""
        self._upkeep.spawn(self._greet(guild))

    async def _greet(self, guild: discord.Guild) -> None:
        """Once the commands that it names can be used."""
        await self.registered.wait()
        await welcome.greet(self, guild)

    async def on_message(self, message: discord.Message) -> None:
        """What somebody writes to the bot directly."""
        self.answers.join()
        await direct_messages.on_message(self, message)

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction on any message, also one from long before this start."""
        self._react(reactions.on_reaction, payload)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """A reaction taken away."""
        self._react(reactions.on_reaction_removed, payload)

    def _react(self, handler: OnReaction, payload: discord.RawReactionActionEvent) -> None:
        if self.user is None or payload.user_id == self.user.id:
            return
        if not self._reactions.add(payload.user_id, lambda: handler(self, payload)):
            log.warning(
                "a reaction is left out", user=payload.user_id, waiting=len(self._reactions)
            )
            self._left_out.add(payload.user_id, lambda: reactions.on_left_out(self, payload))

    async def on_interaction(self, interaction: discord.Interaction[Client]) -> None:
        """Modals; commands and buttons find their own way, but for those that nobody knows."""
        match interaction.type:
            case discord.InteractionType.modal_submit if self.is_new(interaction):
                await on_modal(interaction, MODALS)
            case discord.InteractionType.component if not known(interaction):
                if self.is_new(interaction):
                    with contextlib.suppress(AnsweredError):
                        async with responding(interaction):
                            raise Refused("press_gone")

    async def _register(self, guild_id: int | None, *, complete: bool) -> None:
        """Register the commands everywhere or on one server, however often that takes."""
        catalog = self.services.catalog
        await self._sync_at_last(guild_id)
        if guild_id is None:
            self.registered.set()
        if not complete:
            # whether prompts are completed depends on the model that draws
            await catalog.ready()
            for command in commands(self.services):
                self.tree.add_command(command, override=True)
            await self._sync_at_last(guild_id)

    async def _sync_at_last(self, guild_id: int | None) -> None:
        before = ""
        for wait in itertools.chain(REGISTER_WAITS, itertools.repeat(REGISTER_WAITS[-1])):
            try:
                if not self.registers_commands:
                    return self._know(await self.tree.fetch_commands())
                return await (self._sync() if guild_id is None else self._sync_guild(guild_id))
            except SENDING_ERRORS as error:
                told = told_wait(error)
                seconds = wait if told is None else told
                if str(error) != before:
                    before = str(error)
                    log.warning("commands not registered yet", server=guild_id, error=before)
                await asyncio.sleep(seconds)
        raise AssertionError("the waits never end")

    async def _recover(self) -> None:
        """Take up what was under way when the bot stopped, however busy the database is."""
        while True:
            try:
                await self.services.delivery.recover()
                # what somebody was deleting when the bot stopped goes on, on Discord too
                await self.services.store.personal.resume()
                messages = await self.services.store.jobs.to_take_back()
                self.services.delivery.chores.take_back(messages)
                return
            except DatabaseError as error:
                log.warning("what was under way can't be read yet", error=str(error))
                await asyncio.sleep(RECOVER_WAIT)

    async def _sync_guild(self, guild_id: int) -> None:
        guild = discord.Object(guild_id)
        self.tree.copy_global_to(guild=guild)
        await self.tree.sync(guild=guild)

    async def _sync(self) -> None:
        """Register the commands if they have changed; Discord limits how often one may."""
        payload = [
            await command.get_translated_payload(self.tree, LocaleTranslator())
            for command in self.tree.get_commands()
        ]
        signature = json.dumps([self.application_id, discord.http.Route.BASE, payload])
        digest = hashlib.sha256(signature.encode()).hexdigest()
        file = self._cache / "commands.sha256"
        with contextlib.suppress(OSError, ValueError):
            if file.read_text(encoding="utf-8") == digest:
                self._know(await self.tree.fetch_commands())
                return
        self._know(await self.tree.sync())
        log.info("commands registered", count=len(payload))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(digest, encoding="utf-8")
        except OSError as error:
            log.warning("the next start registers the commands again", error=str(error))

    def _know(self, registered: Sequence[app_commands.AppCommand]) -> None:
        """Note the ids under which Discord has the commands."""
        slash = discord.AppCommandType.chat_input
        self.command_ids = {each.name: each.id for each in registered if each.type is slash}


class _Tree(RoomyTree[DarkroomClient]):
    async def interaction_check(self, interaction: discord.Interaction[DarkroomClient], /) -> bool:
        """Begin a command or an autocomplete: everybody may, commands check for themselves."""
        interaction.client.answers.join()
        if not interaction.client.is_new(interaction):
            return False
        try:
            check_command(interaction)
        except Refused as refused:
            await self._answer(interaction, refused)
            return False
        return True

    async def on_error(
        self,
        interaction: discord.Interaction[DarkroomClient],
        error: app_commands.AppCommandError,
        /,
    ) -> None:
        """Answer what nobody has answered."""
        if isinstance(error, AnsweredError):
            return
        if isinstance(error, app_commands.CommandInvokeError):
            await self._answer(interaction, error.original)
        else:
            await self._answer(interaction, Refused("command_changed"))

    async def _answer(
        self, interaction: discord.Interaction[DarkroomClient], error: Exception
    ) -> None:
        """A command is answered in words; what can't be completed has no choices."""
        if interaction.type is discord.InteractionType.autocomplete:
            if not interaction.response.is_done():
                await interaction.response.autocomplete([])
            return
        with contextlib.suppress(AnsweredError):
            async with responding(interaction):
                raise error


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
