"""Messages: made, edited, deleted, by the bot and by people; and the rules they keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import mentions, uploads
from .errors import (
    BadBulkDelete,
    BadBulkDeleteCount,
    InvalidForm,
    UnknownMessage,
)
from .events import Events
from .objects import Objects, upload_limit
from .snowflake import Snowflake
from .thread_rules import ThreadRules, check_open
from .uploads import Upload
from .validation.components import TEXT_DISPLAY, number_components, walk
from .validation.messages import MAY_SET, SUPPRESS_EMBEDS, check_message, check_shows, flags_of
from .world import COMPONENTS_V2, EPHEMERAL, LOADING, Attachment, Channel, Json, Message, World

NONCE_LIFETIME = 5 * 60.0
"""Seconds for which `enforce_nonce` finds the earlier message; Discord says "a few minutes"."""

BULK_AGE = 14 * 24 * 3600
DEFAULT, REPLY = 0, 19
"""Message types."""

EMBED_KEYS = (
    "title", "description", "url", "timestamp", "color", "footer", "image", "thumbnail", "author",
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """A message to be made: who writes it where, and what the request said."""

    channel: Channel
    author_id: Snowflake
    body: Json
    uploads: list[Upload]
    type: int = DEFAULT
    flags: int = 0
    reference: Json | None = None
    interaction_metadata: Json | None = None
    webhook_id: Snowflake | None = None
    ephemeral_to: Snowflake | None = None
    id: Snowflake | None = None
    """A forum post's first message has the post's id."""
    silent: bool = False
    """Nobody is told: it is there when the thread is looked at."""


class Messages:
    def __init__(
        self, world: World, objects: Objects, events: Events, threads: ThreadRules
    ) -> None:
        self.world = world
        self.objects = objects
        self.events = events
        self.threads = threads
        self.nonce_lifetime = NONCE_LIFETIME
        self.nonces_since = 0.0
        """Messages before this time are no longer found by their nonce."""

    # -- making -----------------------------------------------------------------------------

    def check(self, channel: Channel, body: Json, files: list[Upload], *, v2: bool) -> None:
        """Raise what Discord answers to a body it can't take: 413, 50035."""
        uploads.check_sizes(files, upload_limit(self.world.guild_of(channel)))
        check_message(body, files, v2=v2)

    def check_new(self, channel: Channel, body: Json, files: list[Upload]) -> None:
        """Raise what Discord answers to a new message that it can't take: 50006 if empty, …"""
        self.check(channel, body, files, v2=bool(flags_of(body) & COMPONENTS_V2))
        check_shows(body, files)

    def create(self, draft: Draft) -> Message:
        """Check the body, store the message and tell everyone."""
        flags = (flags_of(draft.body) & MAY_SET & ~EPHEMERAL) | draft.flags
        self.check_new(draft.channel, draft.body, draft.uploads)
        body = draft.body
        if draft.webhook_id is None:
            draft = replace(draft, reference=self._reference(draft.channel, body))
        return self.store(draft, flags)

    def store(self, draft: Draft, flags: int) -> Message:
        """Keep a message whose body was checked (or is empty: a deferred response)."""
        body, channel = draft.body, draft.channel
        self.threads.before_message(channel)
        reply = draft.reference is not None and draft.type == DEFAULT
        message = Message(
            id=draft.id or self.world.snowflakes.next(),
            channel_id=channel.id,
            author_id=draft.author_id,
            created_at=self.world.clock.now(),
            type=REPLY if reply else draft.type,
            content=(body.get("content") or "").strip(),
            embeds=[clean_embed(e) for e in body.get("embeds") or []],
            components=number_components(body.get("components") or []),
            flags=flags | (EPHEMERAL if draft.ephemeral_to else 0),
            tts=bool(body.get("tts")),
            nonce=body.get("nonce"),
            reference=draft.reference,
            interaction_metadata=draft.interaction_metadata,
            webhook_id=draft.webhook_id,
            ephemeral_to=draft.ephemeral_to,
        )
        message.attachments = self._attach(message, body, draft.uploads)
        self._set_mentions(message, body.get("allowed_mentions"))
        self.world.save(message)
        if not message.ephemeral:
            channel.last_message_id = message.id
            self.world.save(channel)
        self.threads.after_message(channel, message)
        if not draft.silent:
            self.events.message("MESSAGE_CREATE", message)
        return message

    def with_nonce(self, channel: Channel, author_id: Snowflake, body: Json) -> Message | None:
        """The message that an earlier request with the same enforced nonce made."""
        nonce = body.get("nonce")
        if not body.get("enforce_nonce") or nonce is None:
            return None
        oldest = max(self.world.clock.now() - self.nonce_lifetime, self.nonces_since)
        for message in reversed(self.world.messages.get(channel.id, {}).values()):
            if message.created_at < oldest:
                return None
            if message.author_id == author_id and str(message.nonce) == str(nonce):
                return message
        return None

    def forget_nonces(self, lifetime: float | None = None) -> None:
        """As after a restart at Discord; `lifetime` (seconds) is for the messages to come."""
        self.nonces_since = self.world.clock.now()
        self.nonce_lifetime = NONCE_LIFETIME if lifetime is None else lifetime

    def _reference(self, channel: Channel, body: Json) -> Json | None:
        """The checked `message_reference` of a reply."""
        given = body.get("message_reference")
        if not given:
            return None
        message_id = str(given.get("message_id"))
        if message_id not in self.world.messages.get(channel.id, {}):
            if given.get("fail_if_not_exists", True) is False:
                return None
            wrong = {"code": "REPLIES_UNKNOWN_MESSAGE", "message": "Unknown message"}
            raise InvalidForm({"message_reference": {"_errors": [wrong]}})
        reference: Json = {"type": 0, "channel_id": channel.id, "message_id": message_id}
        if channel.guild_id is not None:
            reference["guild_id"] = channel.guild_id
        return reference

    # -- changing ---------------------------------------------------------------------------

    def edit(self, message: Message, body: Json, files: list[Upload]) -> None:
        """Change what the request names; attachments are kept, added and removed by id."""
        channel = self.world.channel(message.channel_id)
        check_open(channel)
        flags = edited_flags(message, body)
        shown: Json = {"content": message.content, "embeds": message.embeds} | body
        # what stays counts too: components V2 can't stand beside the old text
        checked = shown if flags & COMPONENTS_V2 else body
        self.check(channel, checked, files, v2=bool(flags & COMPONENTS_V2))
        kept = kept_attachments(message, body)
        shown.setdefault("components", message.components)
        check_shows(shown, [*kept, *files])
        message.content = (shown["content"] or "").strip()
        message.embeds = [clean_embed(e) for e in shown["embeds"] or []]
        if "components" in body:
            message.components = number_components(body["components"] or [])
        message.flags = flags & ~LOADING
        for gone in message.attachments:
            if gone not in kept:
                self.world.store.remove_file(gone.id)
        message.attachments = kept + self._attach(message, body, files)
        if body.keys() & {"content", "components", "allowed_mentions"}:
            self._set_mentions(message, body.get("allowed_mentions"))
        message.edited_at = self.world.clock.now()
        self.world.save(message)
        self.events.message("MESSAGE_UPDATE", message)

    def suppress_embeds(self, message: Message, *, suppress: bool) -> None:
        """All that someone with MANAGE_MESSAGES may change in another's message."""
        message.flags = message.flags & ~SUPPRESS_EMBEDS | (SUPPRESS_EMBEDS if suppress else 0)
        self.world.save(message)
        self.events.message("MESSAGE_UPDATE", message)

    def set_pinned(self, message: Message, pinned: bool) -> None:
        message.pinned = pinned
        self.world.save(message)
        self.events.message("MESSAGE_UPDATE", message)

    def delete(self, channel: Channel, messages: list[Message]) -> None:
        for message in messages:
            for attachment in message.attachments:
                self.world.store.remove_file(attachment.id)
            self.world.remove(message)
        self.events.messages_deleted(channel, messages)

    def bulk_delete(self, channel: Channel, ids: list[Snowflake]) -> None:
        if not 2 <= len(ids) <= 100:
            raise BadBulkDeleteCount
        existing = self.world.messages.get(channel.id, {})
        found = [existing[i] for i in ids if i in existing and not existing[i].ephemeral]
        oldest = self.world.clock.now() - BULK_AGE
        if any(message.created_at < oldest for message in found):
            raise BadBulkDelete
        self.delete(channel, found)

    # -- reading ----------------------------------------------------------------------------

    def visible(self, channel: Channel, message_id: Snowflake, viewer: Snowflake) -> Message:
        """The message, unless it is another's ephemeral one (or the bot's own: REST hides it)."""
        message = self.world.message(channel.id, message_id)
        if message.ephemeral and message.ephemeral_to != viewer:
            raise UnknownMessage
        return message

    def history(self, channel: Channel, viewer: Snowflake) -> list[Message]:
        """Oldest first."""
        return [
            m
            for m in self.world.messages.get(channel.id, {}).values()
            if m.ephemeral_to in (None, viewer)
        ]

    # -- parts ------------------------------------------------------------------------------

    def _attach(self, message: Message, body: Json, files: list[Upload]) -> list[Attachment]:
        """Store `files[n]`, named and described by the entry of `attachments` with `id: n`."""
        described = {str(a.get("id")): a for a in body.get("attachments") or []}
        kept = []
        for upload in files:
            said = described.get(str(upload.index), {})
            kept.append(
                uploads.keep(
                    self.world,
                    upload,
                    message.channel_id,
                    filename=said.get("filename"),
                    title=said.get("title"),
                    description=said.get("description"),
                    ephemeral=message.ephemeral,
                    spoiler=bool(said.get("is_spoiler")),
                )
            )
        return kept

    def _set_mentions(self, message: Message, allowed: Json | None) -> None:
        texts = [message.content]
        texts += [c["content"] for c in walk(message.components) if c.get("type") == TEXT_DISPLAY]
        channel = self.world.channel(message.channel_id)
        found = mentions.find(
            self.world,
            "\n".join(texts),
            allowed,
            self.objects.permissions(channel, message.author_id),
            self._replied_to(message),
        )
        message.mentions, message.mention_roles = found.users, found.roles
        message.mention_everyone = found.everyone

    def _replied_to(self, message: Message) -> Snowflake | None:
        if message.type != REPLY or message.reference is None or message.webhook_id is not None:
            return None
        answered = self.world.messages[message.channel_id].get(message.reference["message_id"])
        return None if answered is None else answered.author_id


def edited_flags(message: Message, body: Json) -> int:
    """Only SUPPRESS_EMBEDS can be switched; IS_COMPONENTS_V2 can be added, never removed."""
    if body.get("flags") is None:
        return message.flags
    wanted = flags_of(body)
    return message.flags & ~SUPPRESS_EMBEDS | wanted & (SUPPRESS_EMBEDS | COMPONENTS_V2)


def kept_attachments(message: Message, body: Json) -> list[Attachment]:
    """The attachments that stay: all, or those that `attachments` lists."""
    if "attachments" not in body:
        return list(message.attachments)
    listed = {str(a["id"]): a for a in body["attachments"] or []}
    kept = [a for a in message.attachments if a.id in listed]
    for attachment in kept:
        if "description" in listed[attachment.id]:
            attachment.description = listed[attachment.id]["description"]
    return kept


def clean_embed(embed: Json) -> Json:
    """What Discord keeps of a bot's embed: its own fields, type "rich", no nulls."""
    cleaned: Json = {"type": "rich"}
    for key in EMBED_KEYS:
        if embed.get(key) is not None:
            cleaned[key] = embed[key]
    if embed.get("fields"):
        cleaned["fields"] = [
            {"name": f["name"], "value": f["value"], "inline": bool(f.get("inline"))}
            for f in embed["fields"]
        ]
    return cleaned
