"""Who used a command, pressed a button or reacted, as Discord tells it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import discord

from bot.access.caller import Caller, Person, Place
from bot.services import Client
from generation.job import InteractionToken
from storage.settings import SettingsStore

REACTION_HELD: Final = timedelta(minutes=1)
"""A reaction that comes again within this time is the same one, unless it was taken away."""


async def caller_of(interaction: discord.Interaction[Client]) -> Caller:
    """Who used a command or pressed a button."""
    user, channel = interaction.user, interaction.channel
    in_guild = interaction.guild_id is not None
    permissions = interaction.permissions
    person = Person(
        user.id,
        user.display_name,
        moderator=in_guild and permissions.manage_messages,
        manager=in_guild and permissions.manage_guild,
        locale=str(interaction.locale),
        roles=_roles(user),
    )
    # where only a person has the app, the server's settings are nobody's
    guest = in_guild and not interaction.is_guild_integration()
    guild_id = None if guest else interaction.guild_id
    place = _place(guild_id, interaction.channel_id, channel, guest=guest)
    caller = await _caller(interaction.client.services.store.settings, person, place)
    return replace(caller, asked_by=f"i:{interaction.id}")


async def caller_by_reaction(
    client: Client, payload: discord.RawReactionActionEvent, locale: str
) -> Caller:
    """Who reacted. Discord does not say which language they speak, so it is the message's."""
    member, channel = payload.member, client.get_channel(payload.channel_id)
    moderator, manager = False, False
    if member is not None and isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        permissions = channel.permissions_for(member)
        moderator, manager = permissions.manage_messages, permissions.manage_guild
    person = Person(
        payload.user_id,
        member.display_name if member else "",
        moderator=moderator,
        manager=manager,
        locale=locale,
        roles=_roles(member),
    )
    place = _place(payload.guild_id, payload.channel_id, channel)
    caller = await _caller(client.services.store.settings, person, place)
    return replace(caller, asked_by=client.reaction_key(payload), held_for=REACTION_HELD)


def token_of(interaction: discord.Interaction[Client]) -> InteractionToken:
    """What an answer needs to go through an interaction's token."""
    return InteractionToken(
        application_id=interaction.application_id,
        token=interaction.token,
        expires_at=interaction.expires_at,
    )


async def _caller(settings: SettingsStore, person: Person, place: Place) -> Caller:
    guild = await settings.guild(place.guild_id)
    return Caller(person, place, guild, await settings.person(person.id))


async def owns_bot(client: Client, user_id: int) -> bool:
    """Whether somebody owns the application, or is of the team that does."""
    application = await client.application_info()
    if application.team is not None:
        return any(member.id == user_id for member in application.team.members)
    return application.owner.id == user_id


def _roles(user: object) -> tuple[int, ...]:
    return tuple(role.id for role in user.roles) if isinstance(user, discord.Member) else ()


def _place(
    guild_id: int | None, channel_id: int | None, channel: Any, *, guest: bool = False
) -> Place:
    """A thread is as age-restricted, and as open to the bot, as the channel that it is in."""
    is_nsfw = getattr(channel, "is_nsfw", None)
    return Place(
        guild_id=guild_id,
        channel_id=channel_id,
        parent_id=getattr(channel, "parent_id", None),
        age_restricted=bool(is_nsfw and is_nsfw()),
        guest=guest,
    )
