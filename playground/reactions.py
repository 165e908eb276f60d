"""Reactions: the bot's and the people's, with Discord's permissions and counts."""

from __future__ import annotations

from .errors import TooManyReactions, UnknownEmoji
from .events import Events
from .intents import Intent
from .objects import Objects
from .permissions import Permission, require
from .snowflake import Snowflake
from .thread_rules import check_open
from .validation.components import is_emoji
from .world import Channel, Json, Message, Reaction, World

MAX_EMOJI = 20
"""Different emoji on one message."""

VARIATION = "\ufe0f"
"""Asks for the coloured picture of a character; Discord takes an emoji with and without it."""


class Reactions:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    def add(self, channel: Channel, message: Message, user_id: Snowflake, emoji: str) -> None:
        """A new emoji needs ADD_REACTIONS; joining one that is there needs only the history."""
        check_open(channel)
        granted = self.objects.permissions(channel, user_id)
        require(granted, Permission.READ_MESSAGE_HISTORY)
        reaction = self.find(message, emoji)
        if reaction is None:
            check_emoji(emoji)
            require(granted, Permission.ADD_REACTIONS)
            if len(message.reactions) >= MAX_EMOJI:
                raise TooManyReactions
            reaction = Reaction(None, emoji)
            message.reactions.append(reaction)
        if user_id in reaction.users:
            return
        reaction.users.append(user_id)
        self.world.save(message)
        self._tell("MESSAGE_REACTION_ADD", channel, message, user_id, reaction)

    def remove(self, channel: Channel, message: Message, user_id: Snowflake, emoji: str) -> None:
        reaction = self.find(message, emoji)
        if reaction is None or user_id not in reaction.users:
            check_emoji(emoji)
            return
        reaction.users.remove(user_id)
        if not reaction.users:
            message.reactions.remove(reaction)
        self.world.save(message)
        self._tell("MESSAGE_REACTION_REMOVE", channel, message, user_id, reaction)

    def clear(self, channel: Channel, message: Message) -> None:
        message.reactions.clear()
        self.world.save(message)
        self._in_channel("MESSAGE_REACTION_REMOVE_ALL", channel, {"message_id": message.id})

    def clear_emoji(self, channel: Channel, message: Message, emoji: str) -> None:
        reaction = self.find(message, emoji)
        if reaction is None:
            check_emoji(emoji)
            return
        message.reactions.remove(reaction)
        self.world.save(message)
        data = {"message_id": message.id, "emoji": self.objects.emoji(reaction)}
        self._in_channel("MESSAGE_REACTION_REMOVE_EMOJI", channel, data)

    def find(self, message: Message, emoji: str) -> Reaction | None:
        wanted = emoji.replace(VARIATION, "")
        for reaction in message.reactions:
            if reaction.key.replace(VARIATION, "") == wanted:
                return reaction
        return None

    def _tell(
        self,
        name: str,
        channel: Channel,
        message: Message,
        user_id: Snowflake,
        reaction: Reaction,
    ) -> None:
        data: Json = {
            "user_id": user_id,
            "message_id": message.id,
            "emoji": self.objects.emoji(reaction),
            "burst": False,
            "type": 0,
        }
        guild = self.world.guild_of(channel)
        if name == "MESSAGE_REACTION_ADD":
            data["message_author_id"] = message.author_id
            if guild is not None and user_id in guild.members:
                data["member"] = self.objects.member(guild.members[user_id])
        self._in_channel(name, channel, data)

    def _in_channel(self, name: str, channel: Channel, data: Json) -> None:
        self.events.in_channel(
            name, channel, data, Intent.GUILD_MESSAGE_REACTIONS, Intent.DIRECT_MESSAGE_REACTIONS
        )


def check_emoji(emoji: str) -> None:
    """Raise 10014 for what is no Unicode emoji (this Discord has no custom ones)."""
    if not is_emoji(emoji):
        raise UnknownEmoji
