"""Threads as messages and people find them: open or archived, and who is in them."""

from __future__ import annotations

from .errors import ArchivedThread, MissingAccess, WrongChannelType
from .events import Events
from .objects import Objects
from .permissions import Permission, require
from .snowflake import Snowflake
from .validation.form import Form
from .world import FORUM, PRIVATE_THREAD, Channel, Json, Message, Thread, World

ARCHIVE_AFTER = (60, 1440, 4320, 10080)
"""Minutes without a message, one of these."""

STARTER = 21
"""Message type of what stands first in a thread that was begun from a message."""


class ThreadRules:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    # -- who is in it -----------------------------------------------------------------------

    def join(self, channel: Channel, user_id: Snowflake) -> None:
        thread = self._thread(channel)
        if user_id in thread.members:
            return
        guild = self.world.guild_of(channel)
        assert guild is not None
        self.world.member(guild, user_id)
        if Permission.VIEW_CHANNEL not in self.objects.permissions(
            self.world.parent_of(channel), user_id
        ):
            raise MissingAccess
        thread.members[user_id] = self.world.clock.now()
        self.world.save(channel)
        self.events.thread_joined(channel, user_id)

    def add(self, channel: Channel, by: Snowflake, user_id: Snowflake) -> None:
        """One who may write in the thread lets another in."""
        thread = self._thread(channel)
        granted = self.objects.permissions(channel, by)
        require(granted, Permission.SEND_MESSAGES_IN_THREADS)
        if channel.type == PRIVATE_THREAD and not thread.invitable and by != thread.owner_id:
            require(granted, Permission.MANAGE_THREADS)
        self.join(channel, user_id)

    def leave(self, channel: Channel, user_id: Snowflake) -> None:
        thread = self._thread(channel)
        if thread.members.pop(user_id, None) is not None:
            self.world.save(channel)
            self.events.thread_left(channel, user_id)

    def remove(self, channel: Channel, by: Snowflake, user_id: Snowflake) -> None:
        thread = self._thread(channel)
        if channel.type != PRIVATE_THREAD or by != thread.owner_id:
            require(self.objects.permissions(channel, by), Permission.MANAGE_THREADS)
        self.leave(channel, user_id)

    def _thread(self, channel: Channel) -> Thread:
        if channel.thread is None:
            raise WrongChannelType
        return channel.thread

    # -- changing ---------------------------------------------------------------------------

    def change(self, channel: Channel, by: Snowflake, body: Json) -> None:
        """Name, `archived`, `locked`, …: by its owner, or with MANAGE_THREADS."""
        thread = self._thread(channel)
        granted = self.objects.permissions(channel, by)
        form = Form()
        form.text(body, "name", at_most=100)
        for name in ("archived", "locked", "invitable"):
            form.flag(body, name)
        form.choice(body, "auto_archive_duration", ARCHIVE_AFTER, required=False)
        form.done()
        opens = set(body) == {"archived"} and body["archived"] is False and not thread.locked
        if opens:
            require(granted, Permission.SEND_MESSAGES_IN_THREADS)
        elif by != thread.owner_id or "locked" in body or thread.locked:
            require(granted, Permission.MANAGE_THREADS)
        if thread.archived and body.get("archived") is not False:
            raise ArchivedThread
        channel.name = body.get("name") or channel.name
        thread.locked = body.get("locked", thread.locked)
        thread.invitable = body.get("invitable", thread.invitable)
        thread.auto_archive_duration = (
            body.get("auto_archive_duration") or thread.auto_archive_duration
        )
        archived = body.get("archived", thread.archived)
        if archived != thread.archived:
            thread.archived, thread.archived_at = archived, self.world.clock.now()
        self.world.save(channel)
        self.events.thread_event("THREAD_UPDATE", channel)

    # -- what messages do -------------------------------------------------------------------

    def before_message(self, channel: Channel) -> None:
        """A message opens an archived thread again, unless it is locked (50083)."""
        thread = channel.thread
        if channel.type == FORUM:
            raise WrongChannelType(message="Cannot send messages in a non-text channel")
        if thread is None or not thread.archived:
            return
        if thread.locked:
            raise ArchivedThread
        thread.archived, thread.archived_at = False, self.world.clock.now()
        self.world.save(channel)
        self.events.thread_event("THREAD_UPDATE", channel)

    def after_message(self, channel: Channel, message: Message) -> None:
        """Who writes in a thread, and whom a message mentions, is in it from then on."""
        if channel.thread is None or message.ephemeral:
            return
        if message.id != channel.id and message.type != STARTER:
            channel.thread.message_count += 1
            self.world.save(channel)
        guild = self.world.guild_of(channel)
        assert guild is not None
        parent = self.world.parent_of(channel)
        joining = [] if message.webhook_id is not None else [message.author_id]
        for user_id in [*joining, *message.mentions]:
            sees = user_id in guild.members and (
                Permission.VIEW_CHANNEL in self.objects.permissions(parent, user_id)
            )
            if sees:
                self.join(channel, user_id)


def check_open(channel: Channel) -> None:
    """Raise 50083 where nothing can be changed: in an archived thread."""
    if channel.thread is not None and channel.thread.archived:
        raise ArchivedThread
