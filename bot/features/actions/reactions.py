"""Reactions: the second door to the actions, known by message id alone."""

import secrets
from collections.abc import Hashable
from typing import Final

import discord
import structlog

from bot.features.actions.handlers import delete_remains, perform
from bot.features.actions.reply import ReactionReply
from bot.interactions.callers import caller_by_reaction
from bot.interactions.shown_jobs import shown_by
from bot.interactions.sight import at_message
from bot.locales import DEFAULT
from bot.requests.actions import ACTIONS, ActionTarget, meant_by, without_selector
from bot.services import Client
from bot.ui.formatting import sentence
from generation.job import Job
from generation.refusal import Refused

log = structlog.get_logger(__name__)

ONCE: Final = frozenset(("press_not_yours", "not_yours"))
"""Refusals that one person hears once about one message, however often they react."""


async def on_reaction(client: Client, payload: discord.RawReactionActionEvent) -> None:
    """Do the action that somebody's reaction on a picture means; other reactions mean nothing."""
    if client.user is None or payload.user_id == client.user.id:
        return
    if payload.member is not None and payload.member.bot:
        return
    services = client.services
    shown = await shown_by(services, payload.message_id, ours=_of_ours(client, payload))
    if shown is None:
        # of a deleted job, which could not be deleted with it
        if _is(payload, "delete") and await services.store.jobs.had_asked(payload.message_id):
            await _answer(client, payload, DEFAULT, None)
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
    shown = await client.services.store.jobs.shown_by(payload.message_id)
    if shown is None or meant_by(payload.emoji.name, *shown) is None:
        return
    if payload.event_type == "REACTION_REMOVE" and not _is(payload, "favourite"):
        return
    caller = await caller_by_reaction(client, payload, shown[0].origin.locale)
    await _tell(client, payload.user_id, caller.texts("reactions_left_out"), told)


async def _answer(
    client: Client,
    payload: discord.RawReactionActionEvent,
    locale: str,
    wanted: tuple[ActionTarget, Job] | None,
) -> None:
    """Do it, or tell whoever reacted why it can't be done; None deletes a message without a job."""
    services = client.services
    caller = await caller_by_reaction(client, payload, locale)
    reply = ReactionReply(client, payload, caller)
    try:
        if wanted is None:
            await delete_remains(services, reply, payload.message_id)
        else:
            await perform(services, reply, *wanted, at_message(caller, ephemeral=False))
    except Refused as refused:
        if refused.code in ONCE and not await services.requests.first_time(
            payload.user_id, f"{refused.code}:{payload.message_id}"
        ):
            return
        await _tell(client, payload.user_id, sentence(caller.texts, refused.code, refused.params))
    except discord.HTTPException as error:
        log.info("a reaction could not be answered", message=payload.message_id, error=str(error))
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("reaction failed", incident=incident)
        await _tell(client, payload.user_id, caller.texts("incident", incident=incident))


async def on_reaction_removed(client: Client, payload: discord.RawReactionActionEvent) -> None:
    """Taking the star away takes the picture out of the favourites."""
    if client.user is None or payload.user_id == client.user.id:
        return
    client.reaction_key(payload, taken_away=True)
    if not _is(payload, "favourite"):
        return
    services = client.services
    shown = await services.store.jobs.shown_by(payload.message_id)
    if shown is not None:
        await services.requests.set_favourite(payload.user_id, shown[0], shown[1], False)


def _of_ours(client: Client, payload: discord.RawReactionActionEvent) -> bool:
    return client.user is not None and payload.message_author_id == client.user.id


def _is(payload: discord.RawReactionActionEvent, action: str) -> bool:
    return without_selector(payload.emoji.name) == without_selector(ACTIONS[action].emoji)


async def _tell(client: Client, user_id: int, text: str, told: Hashable = None) -> None:
    """A reaction has no private answer but a direct message, which people can switch off.

    Once a minute: somebody may react to a hundred pictures. So is what `told` names.
    """
    if not client.told.add(told or user_id):
        return
    try:
        user = await client.fetch_user(user_id)
        await user.send(text)
    except discord.HTTPException as error:
        log.info("a refusal could not be told", user=user_id, error=str(error))
