"""Reactions: the second door to the actions, known by message id alone."""

from typing import TYPE_CHECKING

import discord
import structlog

from bot import policy
from bot.actions import Action, by_emoji, offered
from bot.answering import NO_MENTIONS
from bot.locales import Texts
from bot.policy import Person
from generation.job import Job, Origin
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

log = structlog.get_logger(__name__)


async def on_reaction(client: "DarkroomClient", payload: discord.RawReactionActionEvent) -> None:
    """Do the action that somebody's reaction on a picture means; other reactions mean nothing."""
    if client.user is None or payload.user_id == client.user.id:
        return
    if payload.member is not None and payload.member.bot:
        return
    action = by_emoji(payload.emoji.name)
    if action is None:
        return
    job = await client.desk.jobs.job_of_message(payload.message_id)
    if job is None or action not in offered(job):
        return
    texts = Texts(job.origin.locale)
    try:
        await _act(client, payload, action, job, texts)
    except Refused as refused:
        await _tell(client, payload.user_id, texts(refused.code, **refused.params))


async def _act(
    client: "DarkroomClient",
    payload: discord.RawReactionActionEvent,
    action: Action,
    job: Job,
    texts: Texts,
) -> None:
    member = payload.member
    person = Person(payload.user_id, member.display_name if member else "", member is None)
    channel = client.get_channel(payload.channel_id)
    if member is not None and isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        own = channel.permissions_for(channel.guild.me)
        thread = isinstance(channel, discord.Thread)
        moderator = channel.permissions_for(member).manage_messages
        person = Person(member.id, member.display_name, moderator)
        if action.request is not None:
            policy.check_permissions(own, texts, thread=thread)
    origin = Origin(
        user_id=payload.user_id,
        user_name=person.name,
        guild_id=payload.guild_id,
        channel_id=payload.channel_id,
        locale=job.origin.locale,
        spoiler=job.origin.spoiler,
    )
    new = await client.desk.act(action, job, person, origin)
    if new is not None:
        client.delivery.watch(new, reply_to=payload.message_id)
    elif action.name == "delete":
        messageable = client.get_partial_messageable(payload.channel_id)
        await messageable.get_partial_message(payload.message_id).delete()


async def _tell(client: "DarkroomClient", user_id: int, sentence: str) -> None:
    """A reaction has no private answer but a direct message, which people can switch off."""
    try:
        user = await client.fetch_user(user_id)
        await user.send(sentence, allowed_mentions=NO_MENTIONS)
    except discord.HTTPException as error:
        log.info("a refusal could not be told", user=user_id, error=str(error))
