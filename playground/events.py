"""Tells the bot's gateway sessions and the people's pages what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from .intents import NO_INTENT, Intent
from .objects import Objects
from .permissions import Permission
from .snowflake import Snowflake
from .world import DM, PRIVATE_THREAD, Channel, Guild, Json, Member, Message, World


class Bot(Protocol):
    """The gateway, as seen from here."""

    def dispatch(
        self,
        name: str,
        render: Callable[[Intent], Json],
        intent: Intent,
        guild_id: Snowflake | None,
    ) -> None:
        """Send to each session with one of the `intent` bits; `render` gets that session's."""


class Events:
    """Renders each event once per receiver, since Discord's objects differ by who looks."""

    def __init__(self, world: World, objects: Objects) -> None:
        self.world = world
        self.objects = objects
        self.bot: Bot
        self._people: dict[Callable[[Json], None], Snowflake] = {}

    # -- who listens ------------------------------------------------------------------------

    def listen(self, user_id: Snowflake, send: Callable[[Json], None]) -> None:
        self._people[send] = user_id

    def forget(self, send: Callable[[Json], None]) -> None:
        self._people.pop(send, None)

    # -- sending ----------------------------------------------------------------------------

    def to_bot(
        self, name: str, data: Json, intent: Intent = NO_INTENT, guild_id: str | None = None
    ) -> None:
        guild = None if guild_id is None else self.world.guilds.get(guild_id)
        if guild is not None and intent and self.world.bot.id not in guild.members:
            return
        self.bot.dispatch(name, lambda _: data, intent, guild_id)

    def to_person(self, user_id: Snowflake, name: str, data: Json) -> None:
        for send, listener in list(self._people.items()):
            if listener == user_id:
                send({"t": name, "d": data})

    def to_people(self, users: Iterable[Snowflake], name: str, data: Json) -> None:
        for user_id in users:
            self.to_person(user_id, name, data)

    def to_everyone(self, name: str, data: Json) -> None:
        self.to_people(set(self._people.values()), name, data)

    def viewers(self, channel: Channel) -> list[Snowflake]:
        """The people listening who may see the channel."""
        listening = set(self._people.values())
        return [u for u in listening if self._sees(u, channel)]

    def _sees(self, user_id: Snowflake, channel: Channel) -> bool:
        if user_id not in self.world.users:
            return False
        return Permission.VIEW_CHANNEL in self.objects.permissions(channel, user_id)

    def _bot_sees(self, channel: Channel) -> bool:
        return self._sees(self.world.bot.id, channel)

    def _bot_is_at(self, channel: Channel) -> bool:
        """Is the bot there at all? Where its app is only installed to a person, it is not."""
        guild = self.world.guild_of(channel)
        if guild is None:
            return not channel.people
        return self.world.bot.id in guild.members

    # -- messages ---------------------------------------------------------------------------

    def message(self, name: str, message: Message) -> None:
        """MESSAGE_CREATE or MESSAGE_UPDATE."""
        channel = self.world.channel(message.channel_id)
        guild_id = channel.guild_id
        if message.ephemeral_to is not None:
            # "guild_id … unless it is an ephemeral message" (Discord's page on gateway events)
            if self._bot_is_at(channel):
                self._message_to_bot(name, message, None)
            people = [message.ephemeral_to]
        else:
            if self._bot_sees(channel):
                self._message_to_bot(name, message, guild_id)
            people = self.viewers(channel)
        for user_id in people:
            data = self.objects.message(message, user_id)
            if name == "MESSAGE_CREATE" and message.nonce is not None:
                data["nonce"] = message.nonce
            self.to_person(user_id, name, data | ({"guild_id": guild_id} if guild_id else {}))

    def _message_to_bot(self, name: str, message: Message, guild_id: Snowflake | None) -> None:
        def render(intents: Intent) -> Json:
            reads = Intent.MESSAGE_CONTENT in intents
            data = self.objects.message(message, self.world.bot.id, reads_content=reads)
            if name == "MESSAGE_CREATE" and message.nonce is not None:
                data["nonce"] = message.nonce
            if guild_id is None:
                return data
            guild = self.world.guild(guild_id)
            data["guild_id"] = guild_id
            if member := guild.members.get(message.author_id):
                data["member"] = self.objects.member(member, with_user=False)
            for user in data["mentions"]:
                if mentioned := guild.members.get(user["id"]):
                    user["member"] = self.objects.member(mentioned, with_user=False)
            return data

        intent = Intent.DIRECT_MESSAGES if guild_id is None else Intent.GUILD_MESSAGES
        self.bot.dispatch(name, render, intent, guild_id)

    def messages_deleted(self, channel: Channel, messages: list[Message]) -> None:
        """MESSAGE_DELETE, or MESSAGE_DELETE_BULK to the bot when there are several."""
        place: Json = {"channel_id": channel.id}
        if channel.guild_id is not None:
            place["guild_id"] = channel.guild_id
        intent = Intent.DIRECT_MESSAGES if channel.type == DM else Intent.GUILD_MESSAGES
        seen = [m.id for m in messages if not m.ephemeral] if self._bot_sees(channel) else []
        if len(seen) == 1:
            self.to_bot("MESSAGE_DELETE", {"id": seen[0]} | place, intent, channel.guild_id)
        elif seen:
            self.to_bot("MESSAGE_DELETE_BULK", {"ids": seen} | place, intent, channel.guild_id)
        viewers = self.viewers(channel)
        for message in messages:
            people = viewers if message.ephemeral_to is None else [message.ephemeral_to]
            self.to_people(people, "MESSAGE_DELETE", {"id": message.id} | place)

    def in_channel(
        self, name: str, channel: Channel, data: Json, guild: Intent, direct: Intent
    ) -> None:
        """An event that the bot (with the intent for that kind of channel) and viewers get."""
        data = {"channel_id": channel.id} | data
        if channel.guild_id is not None:
            data["guild_id"] = channel.guild_id
        if self._bot_sees(channel):
            intent = direct if channel.type == DM else guild
            self.to_bot(name, data, intent, channel.guild_id)
        self.to_people(self.viewers(channel), name, data)

    # -- channels and guilds ----------------------------------------------------------------

    def guild_created(self, guild: Guild) -> None:
        if self.world.bot.id not in guild.members:
            self.to_people(guild.members, "GUILD_CREATE", self.objects.guild(guild))
            return

        def render(intents: Intent) -> Json:
            data = self.objects.guild_create(guild, everyone=Intent.GUILD_MEMBERS in intents)
            # absent when the bot has just joined, false when the guild was announced in READY
            del data["unavailable"]
            return data

        self.bot.dispatch("GUILD_CREATE", render, Intent.GUILDS, guild.id)
        self.to_people(guild.members, "GUILD_CREATE", self.objects.guild(guild))

    def guild_updated(self, guild: Guild) -> None:
        data = self.objects.guild(guild)
        self.to_bot("GUILD_UPDATE", data, Intent.GUILDS, guild.id)
        self.to_people(guild.members, "GUILD_UPDATE", data)

    def guild_left(self, guild: Guild, member: Member) -> None:
        """The bot is no longer in the guild."""
        self.bot.dispatch("GUILD_DELETE", lambda _: {"id": guild.id}, Intent.GUILDS, guild.id)
        self.member_event("GUILD_MEMBER_REMOVE", guild, member)

    def channel_event(self, name: str, channel: Channel) -> None:
        """CHANNEL_CREATE, _UPDATE or _DELETE of a guild's channel, or a DM's CHANNEL_CREATE."""
        if channel.type != DM:
            # Discord tells bots of channels that they can't see, too
            data = self.objects.channel(channel)
            self.to_bot(name, data, Intent.GUILDS, channel.guild_id)
        for user_id in self.viewers(channel):
            self.to_person(user_id, name, self.objects.channel(channel, user_id))

    # -- threads ----------------------------------------------------------------------------

    def thread_event(self, name: str, channel: Channel, *, newly_created: bool = False) -> None:
        """THREAD_CREATE or THREAD_UPDATE, for all who see the thread."""
        created = {"newly_created": True} if newly_created else {}
        bot_id = self.world.bot.id
        if self._bot_sees(channel):
            data = self.objects.channel(channel, bot_id) | created
            self.to_bot(name, data, Intent.GUILDS, channel.guild_id)
        for user_id in self.viewers(channel):
            self.to_person(user_id, name, self.objects.channel(channel, user_id) | created)

    def thread_joined(self, channel: Channel, user_id: Snowflake) -> None:
        """Who comes into a private thread learns of it; everyone in it learns of them."""
        itself = user_id == self.world.bot.id
        if itself and channel.type == PRIVATE_THREAD:
            self.to_bot(
                "THREAD_CREATE", self.objects.channel(channel), Intent.GUILDS, channel.guild_id
            )
        elif not itself:
            self.to_person(user_id, "THREAD_CREATE", self.objects.channel(channel, user_id))
        added = [self.objects.thread_member(channel, user_id)]
        self._members_changed(channel, {"added_members": added}, itself=itself)

    def thread_left(self, channel: Channel, user_id: Snowflake) -> None:
        data: Json = {"removed_member_ids": [user_id]}
        self._members_changed(channel, data, itself=user_id == self.world.bot.id)
        if not self._sees(user_id, channel):
            self.to_person(user_id, "THREAD_DELETE", self._thread_place(channel))

    def _members_changed(self, channel: Channel, change: Json, *, itself: bool) -> None:
        assert channel.thread is not None
        count = min(50, len(channel.thread.members))
        data = {"id": channel.id, "guild_id": channel.guild_id, "member_count": count} | change
        if itself or self._bot_sees(channel):
            intent = Intent.GUILDS if itself else Intent.GUILD_MEMBERS
            self.to_bot("THREAD_MEMBERS_UPDATE", data, intent, channel.guild_id)
        self.to_people(self.viewers(channel), "THREAD_MEMBERS_UPDATE", data)

    def thread_deleted(self, channel: Channel) -> None:
        place = self._thread_place(channel)
        if self._bot_sees(channel):
            self.to_bot("THREAD_DELETE", place, Intent.GUILDS, channel.guild_id)
        self.to_people(self.viewers(channel), "THREAD_DELETE", place)

    def _thread_place(self, channel: Channel) -> Json:
        return {
            "id": channel.id,
            "guild_id": channel.guild_id,
            "parent_id": channel.parent_id,
            "type": channel.type,
        }

    # -- servers ----------------------------------------------------------------------------

    def guild_event(self, name: str, guild: Guild, data: Json) -> None:
        self.to_bot(name, data | {"guild_id": guild.id}, Intent.GUILDS, guild.id)
        self.to_people(guild.members, name, data | {"guild_id": guild.id})

    def member_event(self, name: str, guild: Guild, member: Member) -> None:
        """GUILD_MEMBER_ADD, _UPDATE or _REMOVE; the bot always hears about itself."""
        data = self.objects.member(member) | {"guild_id": guild.id}
        if name == "GUILD_MEMBER_REMOVE":
            data = {"user": data["user"], "guild_id": guild.id}
        itself = member.user_id == self.world.bot.id
        intent = NO_INTENT if itself else Intent.GUILD_MEMBERS
        self.to_bot(name, data, intent, guild.id)
        self.to_people(guild.members, name, data)
