"""Who asks, where, and what holds for them there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from bot.locales import Texts
from generation.job import InteractionToken, Job, Origin
from storage.settings import GuildSettings, PersonSettings


class Person(msgspec.Struct, frozen=True):
    """Somebody who asks. A moderator may manage messages where they ask, a manager the server;
    whether they own the bot is only known where it matters.
    """

    id: int
    name: str
    moderator: bool = False
    manager: bool = False
    locale: str = "en-US"
    roles: tuple[int, ...] = ()
    bot_owner: bool = False


class Place(msgspec.Struct, frozen=True):
    """Where somebody asks; `parent_id` is the channel that a thread is in. There is no `guild_id`
    in direct messages, nor on a server where the bot is no member: its rules are not ours.
    """

    guild_id: int | None = None
    channel_id: int | None = None
    parent_id: int | None = None
    age_restricted: bool = False
    guest: bool = False
    """Whether it is on a server where the bot is no member."""


KEYS_KEPT: Final = 11
"""Ignored keys; the last says that there are more than are shown."""
KEY_MAX: Final = 100
"""Characters of one."""


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
        """Their share of the server's turns: that of their best role."""
        by_role = self.guild.weight_by_role
        return max((by_role[role] for role in self.person.roles if role in by_role), default=1.0)

    def answers_privately(self, job: Job) -> bool:
        """Whether what comes of a request is shown to them alone: as that was, or as they want."""
        return job.origin.private or self.own.private

    def origin(
        self,
        *,
        private: bool,
        interaction: InteractionToken | None = None,
        ignored: Sequence[str] = (),
    ) -> Origin:
        """Where the answer goes. `ignored` are keys of what was pasted that mean nothing here."""
        return Origin(
            user_id=self.person.id,
            user_name=self.person.name,
            guild_id=self.place.guild_id,
            channel_id=self.place.channel_id,
            locale=self.locale,
            private=private,
            spoiler=self.guild.spoiler,
            weight=self.weight,
            age_restricted=self.place.age_restricted,
            guest=self.place.guest,
            ignored=tuple(key[:KEY_MAX] for key in ignored[:KEYS_KEPT]),
            interaction=interaction,
        )
