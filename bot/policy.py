"""Who may ask for what: pure functions that raise Refused."""

from typing import Final

import discord
import msgspec

from bot.locales import Texts
from generation.job import Job
from generation.refusal import Refused

IN_CHANNEL: Final = (
    "view_channel",
    "embed_links",
    "attach_files",
    "add_reactions",
    "read_message_history",
)
"""Permissions that every answer needs, beside the one to send."""


class Person(msgspec.Struct, frozen=True):
    """Somebody who asks. A moderator may manage messages where they ask."""

    id: int
    name: str
    moderator: bool = False
    locale: str = "en-US"


def check_permissions(
    permissions: discord.Permissions, texts: Texts, *, thread: bool = False
) -> None:
    """Refuse where the bot could not post its answer, before anything is drawn."""
    sending = "send_messages_in_threads" if thread else "send_messages"
    missing = [name for name in (*IN_CHANNEL, sending) if not getattr(permissions, name)]
    if missing and not permissions.administrator:
        names = ", ".join(texts(f"permission_{name}") for name in missing)
        raise Refused("permissions_missing", names=names)


def check_waiting(count: int, limit: int) -> None:
    """Refuse a person who has `limit` requests waiting or running."""
    if count >= limit:
        raise Refused("too_many_waiting", count=count)


def check_control(job: Job, person: Person) -> None:
    """Refuse whoever is neither the owner of a job nor a moderator."""
    if person.id != job.origin.user_id and not person.moderator:
        raise Refused("not_yours")
