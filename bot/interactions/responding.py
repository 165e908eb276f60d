"""What every answer to an interaction shares: who asked, and what they see when it fails."""

import contextlib
import dataclasses
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Generic

import discord
import msgspec
import structlog
from discord import app_commands

from bot.access import permissions
from bot.access.caller import Caller
from bot.delivery.failures import DISCORD_ERRORS, SENDING_ERRORS, answer_key, outcome_unknown
from bot.delivery.sending_once import send_once
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

ACKNOWLEDGED: Final = 40060
"""Discord's code for an interaction that has been answered already."""
WAITING: Final = "waiting"
"""In an interaction's extras: who sees what was deferred and shows nothing yet; None after."""

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
    # each callback is a task of its own: all that it logs has the number
    structlog.contextvars.bind_contextvars(interaction=interaction.id)
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
    try:
        await interaction.response.defer(thinking=True, ephemeral=private)
    except SENDING_ERRORS as error:
        if not await _is_deferred_after(error, interaction, private=private):
            raise
    interaction.extras[WAITING] = "privately" if private else "for all"


async def _is_deferred_after(error: Exception, interaction: Interaction, *, private: bool) -> bool:
    """Whether only the answer to it was lost: Discord tells whoever repeats it."""
    if outcome_unknown(error):
        try:
            await interaction.response.defer(thinking=True, ephemeral=private)
        except discord.HTTPException as again:
            return again.code == ACKNOWLEDGED
        return True
    return isinstance(error, discord.HTTPException) and error.code == ACKNOWLEDGED


def is_answered(interaction: Interaction) -> bool:
    """Whether Discord knows of an answer, if only that one will come."""
    return interaction.response.is_done() or WAITING in interaction.extras


async def answer(interaction: Interaction, **message: Any) -> discord.InteractionMessage:
    """Show a message in place of what was deferred; returns it.

    `message` is as for a new one. An edit that is repeated shows nothing twice.
    """
    files = message.pop("files", [])
    if "file" in message:
        files = [message.pop("file")]
    shown: dict[str, Any] = {"attachments": files, **message}
    if not isinstance(message.get("view"), discord.ui.LayoutView):
        # all of an earlier try goes, whose outcome may not be known
        embed = shown.pop("embed", None)
        shown = {"view": None, "embeds": [] if embed is None else [embed], **shown}
        shown["content"] = shown.get("content") or None
    sent = await interaction.edit_original_response(**shown)
    interaction.extras[WAITING] = None
    return sent


def leave_to_job(interaction: Interaction) -> None:
    """What was deferred is a job's message from now on, or gone."""
    if WAITING in interaction.extras:
        interaction.extras[WAITING] = None


async def add_answer(interaction: Interaction, **message: Any) -> None:
    """A private message after the first. One whose outcome is unknown is not sent again.

    Raises what a request to Discord may raise.
    """
    if message.get("content") is None:
        message.pop("content", None)
    await send_once(interaction.followup, ephemeral=True, **message)


async def reply_privately(interaction: Interaction, text: str, **more: Any) -> None:
    """Answer so that only the person who asked sees it, however far the interaction is."""
    text = cut(text)
    try:
        if not is_answered(interaction):
            await interaction.response.send_message(text, ephemeral=True, **more)
            return
        waiting = interaction.extras.get(WAITING)
        if waiting == "privately":
            try:
                await answer(interaction, content=text, **more)
            except SENDING_ERRORS as error:
                log.info("what was deferred can't be filled in", error=str(error))
            else:
                return
        if waiting is not None:
            # what follows a public "is thinking" is public too, unless that goes first, and of an
            # edit whose answer was lost nothing may stay
            with contextlib.suppress(discord.NotFound):  # taken back already
                await interaction.delete_original_response()
            leave_to_job(interaction)
        await add_answer(interaction, content=text, **more)
    except SENDING_ERRORS as error:
        log.warning("nobody could be told", sentence=text, error=str(error))


async def show(interaction: Interaction, view: discord.ui.LayoutView) -> None:
    """Show a panel in place of the one that was used, or as a new private answer."""
    deferred = is_answered(interaction)
    if _is_on_panel(interaction):
        if deferred:
            await interaction.edit_original_response(view=view)
        else:
            await interaction.response.edit_message(view=view)
    elif deferred:
        await answer(interaction, view=view)
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
        if not is_answered(interaction):
            await defer(interaction, private=job.origin.private)
    finally:
        leave_to_job(interaction)
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
