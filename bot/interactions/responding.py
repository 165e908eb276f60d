"""What every answer to an interaction shares: who asked, and what they see when it fails."""

import contextlib
import dataclasses
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic

import discord
import msgspec
import structlog
from discord import app_commands

from bot.access import permissions
from bot.access.caller import Caller
from bot.delivery.failures import DISCORD_ERRORS, answer_key
from bot.interactions.callers import caller_of, owns_bot
from bot.interactions.command_data import command_of
from bot.interactions.drafts import offer
from bot.interactions.typed_texts import check_typed_texts
from bot.locales import Texts
from bot.services import Client
from bot.ui.formatting import cut, sentence
from bot.ui.persistent_items import Item, PersistentItem
from generation.job import Job
from generation.refusal import Refused

log = structlog.get_logger(__name__)

Interaction = discord.Interaction[Client]


class AnsweredError(app_commands.AppCommandError):
    """Whoever asked has their answer already, and nothing more is to be done."""


@asynccontextmanager
async def responding(interaction: Interaction) -> AsyncIterator[Caller]:
    """A refusal becomes its sentence, anything else a sentence with the log entry's number.

    Only the person who asked sees either. Raises AnsweredError where that comes before the block
    could begin.
    """
    begun = False
    interaction.client.answers.join()
    texts = Texts(str(interaction.locale))
    try:
        caller = await caller_of(interaction)
        texts = caller.texts
        check_typed_texts(interaction.data)
        command = command_of(interaction)
        if isinstance(command, app_commands.Command):
            caller = await _admitted(interaction, f"/{command.qualified_name}", caller)
        begun = True
        yield caller
    except Refused as refused:
        said = sentence(texts, refused.code, refused.params)
        await _refuse(interaction, texts, said)
    except DISCORD_ERRORS as error:
        log.warning("Discord does not take an answer", exc_info=True)
        await _refuse(interaction, texts, texts(answer_key(error)))
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("interaction failed", incident=incident)
        await _refuse(interaction, texts, texts("incident", incident=incident))
    if not begun:
        raise AnsweredError


async def _refuse(interaction: Interaction, texts: Texts, said: str) -> None:
    """Say why it came to nothing; what was typed for it is kept, and can be had again."""
    more, offered = await offer(interaction, texts)
    await reply_privately(interaction, said + more, **offered)


async def _admitted(interaction: Interaction, act: str, caller: Caller) -> Caller:
    """The caller of a command, as far as the person decides about it. Raises Refused."""
    if permissions.RULES[act].who == "bot_owner":
        owns = await owns_bot(interaction.client, caller.person.id)
        person = msgspec.structs.replace(caller.person, bot_owner=owns)
        caller = dataclasses.replace(caller, person=person)
    permissions.check_person(act, caller)
    return caller


async def defer(interaction: Interaction, *, private: bool) -> None:
    """Acknowledge with "is thinking"; who sees that sees what follows."""
    interaction.extras["private"] = private
    await interaction.response.defer(thinking=True, ephemeral=private)


async def reply_privately(interaction: Interaction, text: str, **more: Any) -> None:
    """Answer so that only the person who asked sees it, however far the interaction is."""
    text = cut(text)
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(text, ephemeral=True, **more)
            return
        deferred = discord.InteractionResponseType.deferred_channel_message
        if interaction.response.type is deferred and not interaction.extras["private"]:
            # what follows a public "is thinking" is public too, unless that goes first
            with contextlib.suppress(discord.NotFound):  # taken back already
                await interaction.delete_original_response()
        await interaction.followup.send(text, ephemeral=True, **more)
    except discord.HTTPException as error:
        log.warning("nobody could be told", sentence=text, error=str(error))


async def show(interaction: Interaction, view: discord.ui.LayoutView) -> None:
    """Show a panel in place of the one that was used, or as a new private answer."""
    deferred = interaction.response.is_done()
    if _is_on_panel(interaction):
        if deferred:
            await interaction.edit_original_response(view=view)
        else:
            await interaction.response.edit_message(view=view)
    elif deferred:
        await interaction.followup.send(view=view, ephemeral=True)
    else:
        await interaction.response.send_message(view=view, ephemeral=True)


async def defer_showing(interaction: Interaction) -> None:
    """Acknowledge where it takes a while until a panel can be shown."""
    if _is_on_panel(interaction):
        await interaction.response.defer()
    else:
        await defer(interaction, private=True)


def _is_on_panel(interaction: Interaction) -> bool:
    message = interaction.message
    return message is not None and message.flags.components_v2


async def acknowledge(interaction: Interaction, job: Job) -> None:
    """Answer with a job that is written down already, and follow it."""
    try:
        if not interaction.response.is_done():
            await defer(interaction, private=job.origin.private)
    finally:
        # what can't be answered is delivered all the same, in another place
        interaction.client.services.delivery.track(job)


def check_can_post(interaction: Interaction, caller: Caller, *, private: bool) -> None:
    """Refuse where the bot could not post an answer that all can see."""
    if interaction.guild_id is None or private:
        return
    granted = names_of(interaction.app_permissions)
    if interaction.is_guild_integration():
        thread = isinstance(interaction.channel, discord.Thread)
        permissions.check_permissions(granted, caller.texts, thread=thread)
    else:
        permissions.check_answering(granted, caller.texts)


def names_of(granted: discord.Permissions) -> frozenset[str]:
    """Discord's names of the permissions that are granted; some have two."""
    return frozenset(name for name in discord.Permissions.VALID_FLAGS if getattr(granted, name))


class RespondingItem(PersistentItem[Item], Generic[Item], template=r"(?!)"):
    """A button or menu that answers whoever uses it, with what it is told or why it can't."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Do what it is for. Raises Refused."""
        raise NotImplementedError

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """An event that comes twice is answered once."""
        client: Client = interaction.client
        return client.is_new(interaction)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Somebody has used it."""
        with contextlib.suppress(AnsweredError):
            async with responding(interaction) as caller:
                await self.respond(interaction, caller)


class PageButton(RespondingItem[discord.ui.Button[Any]], template=r"(?!)"):
    """Shows another page of a list in place of the one that it is under."""

    async def page(self, interaction: Interaction, caller: Caller) -> dict[str, Any]:
        """The page as arguments of a message, `files` among them. Raises Refused."""
        raise NotImplementedError

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Turn the page."""
        await interaction.response.defer()
        shown = await self.page(interaction, caller)
        files = shown.pop("files")
        await interaction.edit_original_response(**shown, attachments=files)
