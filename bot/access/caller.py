"""Who asks, where, and what holds for them there."""

from dataclasses import dataclass
from datetime import timedelta

import msgspec

from bot.locales import Texts
from generation.job import InteractionToken, Origin
from storage.settings import GuildSettings, PersonSettings


class Person(msgspec.Struct, frozen=True):
    """Somebody who asks. A moderator may manage messages where they ask, a manager the server."""

    id: int
    name: str
    moderator: bool = False
    manager: bool = False
    locale: str = "en-US"
    roles: tuple[int, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where somebody asks; `parent_id` is the channel that a thread is in."""

    guild_id: int | None = None
    channel_id: int | None = None
    parent_id: int | None = None
    age_restricted: bool = False


@dataclass(frozen=True)
class Caller:
    """One person in one place, with the settings of both."""

    person: Person
    place: Place
    guild: GuildSettings
    own: PersonSettings
    asked_by: str | None = None
    """What they asked with, so that an event that comes twice makes one job."""
    held_for: timedelta | None = None
    """How long that stands for one request; None for ever."""

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
