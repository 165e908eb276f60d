"""Who asks, where, and what holds for them there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord

from bot.locales import Texts
from bot.policy import Person, Place
from generation.job import InteractionToken, Origin
from storage.settings import GuildSettings, PersonSettings, SettingsStore

if TYPE_CHECKING:
    from bot.client import DarkroomClient


@dataclass(frozen=True)
class Visit:
    """One person in one place, with the settings of both."""

    person: Person
    place: Place
    guild: GuildSettings
    own: PersonSettings

    @property
    def locale(self) -> str:
        """Their own choice, else the server's, else what their Discord speaks."""
        return self.own.language or self.guild.language or self.person.locale

    @property
    def texts(self) -> Texts:
        """The sentences in their language."""
        return Texts(self.locale)

    @property
    def weight(self) -> float:
        """Their share of the queue's turns: that of their best role."""
        by_role = self.guild.weight_by_role
        return max((by_role[role] for role in self.person.roles if role in by_role), default=1.0)

    def origin(self, *, private: bool, interaction: InteractionToken | None = None) -> Origin:
        """Where the answer goes."""
        return Origin(
            user_id=self.person.id,
            user_name=self.person.name,
            guild_id=self.place.guild_id,
            channel_id=self.place.channel_id,
            locale=self.locale,
            private=private,
            spoiler=self.guild.spoiler,
            weight=self.weight,
            interaction=interaction,
        )


async def visit_of(settings: SettingsStore, interaction: discord.Interaction[Any]) -> Visit:
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
    place = _place(interaction.guild_id, interaction.channel_id, channel)
    return await _visit(settings, person, place)


async def visit_by_reaction(
    client: "DarkroomClient", payload: discord.RawReactionActionEvent, locale: str
) -> Visit:
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
    return await _visit(client.desk.settings, person, place)


def interaction_of(interaction: discord.Interaction[Any]) -> InteractionToken:
    """What an answer needs to go through an interaction's token."""
    return InteractionToken(
        application_id=interaction.application_id,
        token=interaction.token,
        expires_at=interaction.expires_at,
    )


async def _visit(settings: SettingsStore, person: Person, place: Place) -> Visit:
    guild = GuildSettings()
    if place.guild_id is not None:
        guild = await settings.guild(place.guild_id)
    return Visit(person, place, guild, await settings.person(person.id))


def _roles(user: object) -> tuple[int, ...]:
    return tuple(role.id for role in user.roles) if isinstance(user, discord.Member) else ()


def _place(guild_id: int | None, channel_id: int | None, channel: Any) -> Place:
    """A thread is as age-restricted, and as open to the bot, as the channel that it is in."""
    is_nsfw = getattr(channel, "is_nsfw", None)
    return Place(
        guild_id=guild_id,
        channel_id=channel_id,
        parent_id=getattr(channel, "parent_id", None),
        age_restricted=bool(is_nsfw and is_nsfw()),
    )
