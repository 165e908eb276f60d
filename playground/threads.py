"""Threads, and posts of forums, which are threads with a first message."""

from __future__ import annotations

from .errors import (
    AlreadyHasThread,
    WrongChannelType,
)
from .events import Events
from .messages import Draft, Messages
from .objects import Objects
from .permissions import Permission, require
from .snowflake import Snowflake
from .thread_rules import ARCHIVE_AFTER, STARTER
from .uploads import Upload
from .validation.form import Form
from .world import (
    FORUM,
    HAS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
    Channel,
    Json,
    Message,
    Thread,
    World,
)


class Threads:
    def __init__(self, world: World, objects: Objects, events: Events, messages: Messages) -> None:
        self.rules = messages.threads
        self.world = world
        self.objects = objects
        self.events = events
        self.messages = messages

    # -- making -----------------------------------------------------------------------------

    def create(
        self, parent: Channel, user_id: Snowflake, body: Json, files: list[Upload]
    ) -> tuple[Channel, Message | None]:
        """A thread by itself, or in a forum a post with its first message."""
        if parent.type == FORUM:
            return self._post(parent, user_id, body, files)
        if parent.type != TEXT:
            raise WrongChannelType
        form = self._check(body)
        kind = form.choice(body, "type", (PUBLIC_THREAD, PRIVATE_THREAD), required=False)
        form.done()
        kind = PRIVATE_THREAD if kind is None else int(kind)
        private = kind == PRIVATE_THREAD
        needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
        require(self.objects.permissions(parent, user_id), needed)
        return self._begin(parent, user_id, body, self.world.snowflakes.next(), kind), None

    def create_from(
        self, parent: Channel, message: Message, user_id: Snowflake, body: Json
    ) -> Channel:
        """A thread that begins with a message; it has the message's id."""
        if parent.type != TEXT:
            raise WrongChannelType
        if message.id in self.world.channels:
            raise AlreadyHasThread
        self._check(body).done()
        granted = self.objects.permissions(parent, user_id)
        require(granted, Permission.CREATE_PUBLIC_THREADS | Permission.READ_MESSAGE_HISTORY)
        channel = self._begin(parent, user_id, body, message.id, PUBLIC_THREAD)
        message.flags |= HAS_THREAD
        self.world.save(message)
        self.events.message("MESSAGE_UPDATE", message)
        reference: Json = {
            "type": 0,
            "channel_id": parent.id,
            "message_id": message.id,
            "guild_id": parent.guild_id,
        }
        starter = Draft(
            channel, message.author_id, {}, [], type=STARTER, reference=reference, silent=True
        )
        self.messages.store(starter, 0)
        return channel

    def _post(
        self, forum: Channel, user_id: Snowflake, body: Json, files: list[Upload]
    ) -> tuple[Channel, Message]:
        form = self._check(body)
        first = form.inner(body, "message", required=True) or {}
        form.ids(body, "applied_tags", at_most=5)
        known = {tag.id for tag in forum.tags}
        if not form.errors and {str(tag) for tag in body.get("applied_tags") or []} - known:
            form["applied_tags"].error("FORUM_UNKNOWN_TAG", "Unknown tag")
        form.done()
        require(self.objects.permissions(forum, user_id), Permission.SEND_MESSAGES)
        self.messages.check_new(forum, first, files)
        channel = self._begin(forum, user_id, body, self.world.snowflakes.next(), PUBLIC_THREAD)
        draft = Draft(channel, user_id, first, files, id=channel.id)
        return channel, self.messages.create(draft)

    def _check(self, body: Json) -> Form:
        form = Form()
        form.text(body, "name", at_least=1, at_most=100, required=True)
        form.choice(body, "auto_archive_duration", ARCHIVE_AFTER, required=False)
        form.flag(body, "invitable")
        return form

    def _begin(
        self, parent: Channel, user_id: Snowflake, body: Json, id_: Snowflake, kind: int
    ) -> Channel:
        now = self.world.clock.now()
        thread = Thread(
            owner_id=user_id,
            created_at=now,
            members={user_id: now},
            auto_archive_duration=body.get("auto_archive_duration") or 4320,
            invitable=body.get("invitable") is not False,
            applied_tags=[str(tag) for tag in body.get("applied_tags") or []],
        )
        channel = Channel(
            id_, kind, str(body["name"]), parent.guild_id, parent_id=parent.id, thread=thread
        )
        self.world.save(channel)
        if parent.type == FORUM:
            parent.last_message_id = channel.id
            self.world.save(parent)
        self.events.thread_event("THREAD_CREATE", channel, newly_created=True)
        return channel

    def delete(self, channel: Channel) -> None:
        self.events.thread_deleted(channel)
        started = self.world.messages.get(channel.parent_id or "", {}).get(channel.id)
        self.world.remove_channel(channel)
        if started is not None:
            started.flags &= ~HAS_THREAD
            self.world.save(started)
            self.events.message("MESSAGE_UPDATE", started)
