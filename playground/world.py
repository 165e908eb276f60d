"""What exists: users, guilds, channels, messages, interactions, commands, attachments.

Plain records and look-ups; rules live in the modules named after what they govern. Every record
is written through to the store by `World.save`, so a restart finds everything as it was.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from .clock import Clock
from .errors import UnknownChannel, UnknownGuild, UnknownMember, UnknownMessage, UnknownUser
from .persistence import Store
from .snowflake import Snowflake, Snowflakes

Json = dict[str, Any]

TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 11, 12, 15
"""Channel types."""

TO_GUILD, TO_USER = 0, 1
"""Where an application is installed: `integration_types`."""

EPHEMERAL = 1 << 6
HAS_THREAD = 1 << 5
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15
"""Message flags."""


@dataclass
class User:
    id: Snowflake
    name: str
    bot: bool = False
    locale: str = "en-US"
    avatar: str | None = None
    has_app: bool = False
    """Has installed the application for themself: it can be used wherever they are."""


@dataclass
class Role:
    id: Snowflake
    name: str
    permissions: int
    position: int = 0
    color: int = 0
    managed_by: Snowflake | None = None


@dataclass
class Overwrite:
    """A channel's exception for a role (type 0) or a member (type 1)."""

    id: Snowflake
    type: int
    allow: int
    deny: int


@dataclass
class Member:
    user_id: Snowflake
    roles: list[Snowflake]
    joined_at: float
    nick: str | None = None
    timed_out_until: float | None = None


@dataclass
class Thread:
    """What a channel that is a thread has besides."""

    owner_id: Snowflake
    created_at: float
    members: dict[Snowflake, float]
    """When each joined."""
    archived: bool = False
    locked: bool = False
    archived_at: float | None = None
    auto_archive_duration: int = 4320
    invitable: bool = True
    message_count: int = 0
    applied_tags: list[Snowflake] = field(default_factory=list)


@dataclass
class Tag:
    """What a post of a forum can be marked with."""

    id: Snowflake
    name: str


@dataclass
class Channel:
    id: Snowflake
    type: int
    name: str | None = None
    guild_id: Snowflake | None = None
    position: int = 0
    nsfw: bool = False
    topic: str | None = None
    overwrites: dict[Snowflake, Overwrite] = field(default_factory=dict)
    recipient_id: Snowflake | None = None
    """Whom the bot talks to in this direct message."""
    people: list[Snowflake] = field(default_factory=list)
    """Who talk to each other in this direct message, without the bot."""
    parent_id: Snowflake | None = None
    thread: Thread | None = None
    tags: list[Tag] = field(default_factory=list)
    last_message_id: Snowflake | None = None


@dataclass
class Guild:
    id: Snowflake
    name: str
    owner_id: Snowflake
    roles: dict[Snowflake, Role]
    members: dict[Snowflake, Member]
    premium_tier: int = 0
    locale: str = "en-US"


@dataclass
class Attachment:
    id: Snowflake
    channel_id: Snowflake
    filename: str
    size: int
    content_type: str | None
    width: int | None = None
    height: int | None = None
    description: str | None = None
    title: str | None = None
    ephemeral: bool = False
    spoiler: bool = False


@dataclass
class Reaction:
    emoji_id: Snowflake | None
    emoji_name: str
    users: list[Snowflake] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.emoji_name}:{self.emoji_id}" if self.emoji_id else self.emoji_name


@dataclass
class Message:
    id: Snowflake
    channel_id: Snowflake
    author_id: Snowflake
    created_at: float
    """By the clock's `now`; the id tells what the clock tells."""
    type: int = 0
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    mentions: list[Snowflake] = field(default_factory=list)
    mention_roles: list[Snowflake] = field(default_factory=list)
    mention_everyone: bool = False
    flags: int = 0
    tts: bool = False
    pinned: bool = False
    edited_at: float | None = None
    nonce: str | int | None = None
    reference: Json | None = None
    interaction_metadata: Json | None = None
    webhook_id: Snowflake | None = None
    ephemeral_to: Snowflake | None = None

    @property
    def ephemeral(self) -> bool:
        return self.ephemeral_to is not None


@dataclass
class Interaction:
    id: Snowflake
    token: str
    type: int
    user_id: Snowflake
    channel_id: Snowflake
    created_at: float
    data: Json
    nonce: str | None = None
    command_id: Snowflake | None = None
    message_id: Snowflake | None = None
    triggered_by: Json | None = None
    owners: Json = field(default_factory=dict)
    """`authorizing_integration_owners`: by whose installations of the app it came."""
    follow_ups: int = 0
    failed: bool = False
    response_type: int | None = None
    response_id: Snowflake | None = None
    modal: Json | None = None

    @property
    def acknowledged(self) -> bool:
        return self.response_type is not None

    @property
    def only_by_user(self) -> bool:
        """Is the app here only because a person installed it for themself?"""
        return set(self.owners) == {str(TO_USER)}


@dataclass
class Command:
    """An application command; `body` is Discord's object without its ids."""

    id: Snowflake
    guild_id: Snowflake | None
    version: Snowflake
    body: Json

    @property
    def name(self) -> str:
        return str(self.body["name"])

    @property
    def type(self) -> int:
        return int(self.body["type"])


@dataclass
class Application:
    """The one bot of this Discord. Its user has the application's id, as new bots have."""

    id: Snowflake
    name: str
    token: str
    description: str = ""
    flags: int = 0
    integration_types: list[int] = field(default_factory=lambda: [TO_GUILD, TO_USER])


Record = User | Channel | Guild | Message | Interaction | Command | Attachment | Application


class World:
    """Everything that exists. Look-ups raise Discord's 404 for what does not."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.snowflakes = Snowflakes(clock.told)
        self.users: dict[Snowflake, User] = {}
        self.guilds: dict[Snowflake, Guild] = {}
        self.channels: dict[Snowflake, Channel] = {}
        self.messages: dict[Snowflake, dict[Snowflake, Message]] = {}
        self.interactions: dict[Snowflake, Interaction] = {}
        self.commands: dict[Snowflake, Command] = {}
        self.uploads: dict[Snowflake, Attachment] = {}
        """Attachments that people uploaded for an option or a modal, outside any message."""
        self._by_token: dict[str, Interaction] = {}
        self._attachments: dict[Snowflake, Attachment] = {}
        self.application: Application
        self.secret = secrets.token_hex(16)
        """Signs the CDN's links."""

    # -- look-ups ---------------------------------------------------------------------------

    @property
    def bot(self) -> User:
        return self.users[self.application.id]

    def user(self, user: str) -> User:
        """By id, or by name."""
        if found := self.users.get(user):
            return found
        for candidate in self.users.values():
            if candidate.name == user:
                return candidate
        raise UnknownUser

    def guild(self, guild_id: Snowflake) -> Guild:
        if found := self.guilds.get(guild_id):
            return found
        raise UnknownGuild

    def channel(self, channel_id: Snowflake) -> Channel:
        if found := self.channels.get(channel_id):
            return found
        raise UnknownChannel

    def member(self, guild: Guild, user_id: Snowflake) -> Member:
        if found := guild.members.get(user_id):
            return found
        raise UnknownMember

    def message(self, channel_id: Snowflake, message_id: Snowflake) -> Message:
        if found := self.messages.get(channel_id, {}).get(message_id):
            return found
        raise UnknownMessage

    def guild_of(self, channel: Channel) -> Guild | None:
        return None if channel.guild_id is None else self.guilds[channel.guild_id]

    def channels_of(self, guild: Guild) -> list[Channel]:
        own = [c for c in self.channels.values() if c.guild_id == guild.id and c.thread is None]
        return sorted(own, key=lambda c: (c.position, int(c.id)))

    def threads_of(self, guild: Guild) -> list[Channel]:
        """Those that are not archived, oldest first."""
        return [
            channel
            for channel in self.channels.values()
            if channel.guild_id == guild.id and channel.thread and not channel.thread.archived
        ]

    def parent_of(self, channel: Channel) -> Channel:
        """The channel that a thread is in; any other channel is its own."""
        return channel if channel.parent_id is None else self.channels[channel.parent_id]

    def is_nsfw(self, channel: Channel) -> bool:
        return self.parent_of(channel).nsfw

    def direct_channel(self, user_id: Snowflake) -> Channel:
        """The DM of the bot and this person; made when there is none."""
        for channel in self.channels.values():
            if channel.recipient_id == user_id:
                return channel
        channel = Channel(self.snowflakes.next(), DM, recipient_id=user_id)
        self.save(channel)
        return channel

    def private_channel(self, one: Snowflake, other: Snowflake) -> Channel:
        """The direct message of two people; made when there is none."""
        for channel in self.channels.values():
            if set(channel.people) == {one, other}:
                return channel
        channel = Channel(self.snowflakes.next(), DM, people=[one, other])
        self.save(channel)
        return channel

    def meets_bot(self, user_id: Snowflake) -> bool:
        """May they write to each other? In a server with both, or with the app installed."""
        if self.users[user_id].has_app:
            return True
        guilds = self.guilds.values()
        return any(user_id in guild.members and self.bot.id in guild.members for guild in guilds)

    def interaction_by_token(self, token: str) -> Interaction | None:
        return self._by_token.get(token)

    def attachment(self, attachment_id: Snowflake) -> Attachment | None:
        """Of a message or an upload."""
        return self._attachments.get(attachment_id)

    # -- changes ----------------------------------------------------------------------------

    def remember(self, record: Record) -> None:
        """Take in a record that comes from the store."""
        self._take_in(record)
        self.snowflakes.after(record.id)

    def save(self, record: Record) -> None:
        """Keep a new or changed record, in memory and in the store."""
        self._take_in(record)
        self.store.save(type(record).__name__, record.id, record)

    def _take_in(self, record: Record) -> None:
        self._table(record)[record.id] = record
        if isinstance(record, Interaction):
            self._by_token[record.token] = record
        elif isinstance(record, Attachment):
            self._attachments[record.id] = record
        elif isinstance(record, Message):
            self._attachments |= {attachment.id: attachment for attachment in record.attachments}

    def remove(self, record: Record) -> None:
        if isinstance(record, Interaction):
            self._by_token.pop(record.token, None)
        elif isinstance(record, Message):
            for attachment in record.attachments:
                self._attachments.pop(attachment.id, None)
        self._table(record).pop(record.id, None)
        self.store.remove(type(record).__name__, record.id)

    def clear(self) -> None:
        """Forget everything, in memory and in the store."""
        for table in (self.users, self.guilds, self.channels, self.messages):
            table.clear()
        for other in (self.interactions, self.commands, self.uploads, self._attachments):
            other.clear()
        self._by_token.clear()
        self.store.clear()

    def remove_channel(self, channel: Channel) -> None:
        for thread in [c for c in self.channels.values() if c.parent_id == channel.id]:
            self.remove_channel(thread)
        for message in list(self.messages.get(channel.id, {}).values()):
            self.remove(message)
        self.remove(channel)

    def _table(self, record: Record) -> dict[Snowflake, Any]:
        if isinstance(record, Message):
            return self.messages.setdefault(record.channel_id, {})
        if isinstance(record, Application):
            self.application = record
            return {}
        tables: dict[type, dict[Snowflake, Any]] = {
            User: self.users,
            Channel: self.channels,
            Guild: self.guilds,
            Interaction: self.interactions,
            Command: self.commands,
            Attachment: self.uploads,
        }
        return tables[type(record)]
