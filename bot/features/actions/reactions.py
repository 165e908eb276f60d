"""Reactions: the second door to the actions, known by message id alone."""

import secrets
from collections.abc import Hashable
from typing import Final

import aiohttp
import discord
import structlog

from bot.delivery.failures import SENDING_ERRORS, may_pass, refusal_key
from bot.features.actions.handlers import delete_remains, perform
from bot.features.actions.reply import ReactionReply
from bot.interactions.callers import caller_by_reaction
from bot.interactions.shown_jobs import shown_by
from bot.interactions.sight import at_message
from bot.locales import DEFAULT, Texts
from bot.requests.actions import ACTIONS, ActionTarget, may_mean, meant_by, without_selector
from bot.services import Client
from bot.ui.formatting import sentence
from generation.job import Job
from generation.refusal import Refused
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

UNKNOWN_MESSAGE: Final = 10008
MAY_HAPPEN: Final = (
    DatabaseError,
    discord.HTTPException,
    discord.RateLimited,
    aiohttp.ClientError,
)
"""What comes of a database that is busy, and of Discord; not of an error of ours."""

ONCE: Final = frozenset(("press_not_yours", "not_yours"))
"""Refusals that one person hears once about one message, however often they react."""


async def on_reaction(client: Client, payload: discord.RawReactionActionEvent) -> None:
    """Do the action that somebody's reaction on a picture means; other reactions mean nothing."""
    if client.user is None or payload.user_id == client.user.id:
        return
    if payload.member is not None and payload.member.bot:
        return
    services = client.services
    try:
        shown = await shown_by(services, payload.message_id, ours=_of_ours(client, payload))
        # of a deleted job, which could not be deleted with it
        remains = shown is None and _is(payload, "delete")
        remains = remains and await services.store.jobs.had_asked(payload.message_id) is not None
    except DatabaseError as error:
        if _of_ours(client, payload) and may_mean(payload.emoji.name):
            await _tell_failure(client, payload, Texts(DEFAULT), error)
        return
    if remains:
        await _answer(client, payload, DEFAULT, None)
    if shown is None:
        return
    job, index = shown
    target = meant_by(payload.emoji.name, job, index)
    if target is not None:
        await _answer(client, payload, job.origin.locale, (target, job))


async def on_left_out(client: Client, payload: discord.RawReactionActionEvent) -> None:
    """Tell whoever reacts so often that a reaction which meant something was left out."""
    told = ("left out", payload.user_id)
    if told in client.told or (payload.member is not None and payload.member.bot):
        return
    try:
        shown = await client.services.store.jobs.shown_by(payload.message_id)
        if shown is None or meant_by(payload.emoji.name, *shown) is None:
            return
        if payload.event_type == "REACTION_REMOVE" and not _is(payload, "favourite"):
            return
        caller = await caller_by_reaction(client, payload, shown[0].origin.locale)
    except DatabaseError as error:
        log.warning("nobody could be told", user=payload.user_id, error=str(error))
        return
    await _tell(client, payload.user_id, caller.texts("reactions_left_out"), told)


async def _answer(
    client: Client,
    payload: discord.RawReactionActionEvent,
    locale: str,
    wanted: tuple[ActionTarget, Job] | None,
) -> None:
    """Do it, or tell whoever reacted why it can't be done; None deletes a message without a job."""
    services, texts = client.services, Texts(locale)
    try:
        caller = await caller_by_reaction(client, payload, locale)
        texts = caller.texts
        reply = ReactionReply(client, payload, caller)
        try:
            if wanted is None:
                await delete_remains(services, reply, payload.message_id)
            else:
                await perform(services, reply, *wanted, at_message(caller, ephemeral=False))
        except Refused as refused:
            once = f"{refused.code}:{payload.message_id}" if refused.code in ONCE else None
            if once is not None and await services.requests.made.was_told(payload.user_id, once):
                return
            text = sentence(texts, refused.code, refused.params)
            if await _tell(client, payload.user_id, text) and once is not None:
                await services.requests.made.note_told(payload.user_id, once)
    except MAY_HAPPEN as error:
        await _tell_failure(client, payload, texts, error)
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("reaction failed", incident=incident)
        await _tell(client, payload.user_id, texts("incident", incident=incident))


async def on_reaction_removed(client: Client, payload: discord.RawReactionActionEvent) -> None:
    """Taking the star away takes the picture out of the favourites."""
    if client.user is None or payload.user_id == client.user.id:
        return
    client.reaction_key(payload, taken_away=True)
    if not _is(payload, "favourite"):
        return
    services, texts = client.services, None
    try:
        shown = await services.store.jobs.shown_by(payload.message_id)
        if shown is not None:
            texts = Texts(shown[0].origin.locale)
            await services.requests.made.set_favourite(payload.user_id, shown[0], shown[1], False)
    except DatabaseError as error:
        if texts is not None or await _is_on_ours(client, payload):
            await _tell_failure(client, payload, texts or Texts(DEFAULT), error)


async def _is_on_ours(client: Client, payload: discord.RawReactionActionEvent) -> bool:
    """Whether the message is the bot's, as Discord knows: it does not say so of a reaction that
    was taken away.
    """
    channel = client.get_partial_messageable(payload.channel_id)
    try:
        return (await channel.fetch_message(payload.message_id)).author == client.user
    except SENDING_ERRORS:
        return False


async def _tell_failure(
    client: Client, payload: discord.RawReactionActionEvent, texts: Texts, error: Exception
) -> None:
    """Say that a reaction came to nothing, and what may be done about it."""
    log.warning("a reaction could not be answered", message=payload.message_id, error=str(error))
    if isinstance(error, discord.NotFound) and error.code == UNKNOWN_MESSAGE:
        return  # deleted meanwhile
    key = "reaction_database" if isinstance(error, DatabaseError) else _refusal(error)
    await _tell(client, payload.user_id, texts(key))


def _refusal(error: Exception) -> str:
    if may_pass(error):
        return "reaction_unanswered"
    return "reaction_blocked" if refusal_key(error) == "result_blocked" else "reaction_refused"


def _of_ours(client: Client, payload: discord.RawReactionActionEvent) -> bool:
    return client.user is not None and payload.message_author_id == client.user.id


def _is(payload: discord.RawReactionActionEvent, action: str) -> bool:
    return without_selector(payload.emoji.name) == without_selector(ACTIONS[action].emoji)


async def _tell(client: Client, user_id: int, text: str, told: Hashable = None) -> bool:
    """A reaction has no private answer but a direct message, which people can switch off.

    Once a minute: somebody may react to a hundred pictures. So is what `told` names. Returns
    whether it was sent.
    """
    if not client.told.add(told or user_id):
        return False
    try:
        user = await client.fetch_user(user_id)
        await user.send(text)
    except SENDING_ERRORS as error:
        log.info("a refusal could not be told", user=user_id, error=str(error))
        if may_pass(error):
            client.told.discard(told or user_id)
        return False
    return True
