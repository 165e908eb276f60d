"""Reactions: the second door to the actions, known by message id alone."""

import secrets
from typing import TYPE_CHECKING

import discord
import structlog

from bot import policy, presses
from bot.actions import ACTIONS, pressed
from bot.answering import NO_MENTIONS
from bot.locales import Texts
from bot.visits import visit_by_reaction
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

log = structlog.get_logger(__name__)

ONCE = frozenset(("press_not_yours", "not_yours"))
"""Refusals that one person hears once about one message, however often they react."""

SILENT = frozenset(("cancel", "delete", "favourite", "parameters"))
"""Actions that post nothing in the channel."""


async def on_reaction(client: "DarkroomClient", payload: discord.RawReactionActionEvent) -> None:
    """Do the action that somebody's reaction on a picture means; other reactions mean nothing."""
    if client.user is None or payload.user_id == client.user.id:
        return
    if payload.member is not None and payload.member.bot:
        return
    shown = await client.desk.jobs.shown_by(payload.message_id)
    if shown is None:
        return
    job, index = shown
    press = pressed(payload.emoji.name, job, index)
    if press is None:
        return
    visit = await visit_by_reaction(client, payload, job.origin.locale)
    try:
        if press.action.name not in SILENT:
            _check_permissions(client, payload, visit.texts)
        await presses.by_reaction(client, payload, visit, press, job)
    except Refused as refused:
        if refused.code in ONCE and not await client.desk.first_time(
            payload.user_id, f"{refused.code}:{payload.message_id}"
        ):
            return
        await _tell(client, payload.user_id, visit.texts(refused.code, **refused.params))
    except discord.HTTPException as error:
        log.info("a reaction could not be answered", job=job.id, error=str(error))
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("reaction failed", incident=incident)
        await _tell(client, payload.user_id, visit.texts("incident", incident=incident))


async def on_reaction_removed(
    client: "DarkroomClient", payload: discord.RawReactionActionEvent
) -> None:
    """Taking the star away takes the picture out of the favourites."""
    if client.user is None or payload.user_id == client.user.id:
        return
    if payload.emoji.name.replace("\ufe0f", "") != ACTIONS["favourite"].emoji:
        return
    shown = await client.desk.jobs.shown_by(payload.message_id)
    if shown is not None:
        await client.desk.set_favourite(payload.user_id, shown[0], shown[1], False)


def _check_permissions(
    client: "DarkroomClient", payload: discord.RawReactionActionEvent, texts: Texts
) -> None:
    channel = client.get_channel(payload.channel_id)
    if isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        own = channel.permissions_for(channel.guild.me)
        policy.check_permissions(own, texts, thread=isinstance(channel, discord.Thread))


async def _tell(client: "DarkroomClient", user_id: int, sentence: str) -> None:
    """A reaction has no private answer but a direct message, which people can switch off."""
    try:
        user = await client.fetch_user(user_id)
        await user.send(sentence, allowed_mentions=NO_MENTIONS)
    except discord.HTTPException as error:
        log.info("a refusal could not be told", user=user_id, error=str(error))
