"""Who may ask for what: pure functions that raise Refused."""

from collections.abc import Collection
from typing import Final

from bot.access.caller import Person, Place
from bot.locales import Texts
from generation.job import Job
from generation.refusal import Refused
from storage.settings import GuildSettings

IN_CHANNEL: Final = (
    "view_channel",
    "embed_links",
    "attach_files",
    "add_reactions",
    "read_message_history",
)
"""Permissions that every answer needs, beside the one to send."""


IN_ANSWERS: Final = ("embed_links", "attach_files")
"""Permissions that pictures in an answer to an interaction need."""


def check_permissions(granted: Collection[str], texts: Texts, *, thread: bool = False) -> None:
    """Refuse where the bot could not post its answer, before anything is drawn.

    `granted` are Discord's names of the permissions that the bot has there.
    """
    sending = "send_messages_in_threads" if thread else "send_messages"
    if "administrator" not in granted:
        _require((*IN_CHANNEL, sending), granted, texts)


def check_answering(granted: Collection[str], texts: Texts) -> None:
    """Refuse where an app that only a person has installed could not show pictures.

    It posts nothing by itself: its answers need no more than this.
    """
    _require(IN_ANSWERS, granted, texts)


def _require(needed: Collection[str], granted: Collection[str], texts: Texts) -> None:
    missing = [name for name in needed if name not in granted]
    if missing:
        names = ", ".join(texts(f"permission_{name}") for name in missing)
        raise Refused("permissions_missing", names=names)


def check_place(settings: GuildSettings, place: Place) -> None:
    """Refuse where the server does not want pictures asked for."""
    if place.guild_id is None:
        return
    allowed = settings.channels
    if allowed and place.channel_id not in allowed and place.parent_id not in allowed:
        channels = ", ".join(f"<#{channel}>" for channel in allowed[:5])
        raise Refused("channel_not_allowed", channels=channels)
    if settings.age_restricted and not place.age_restricted:
        raise Refused("age_restricted_only")


def check_press(settings: GuildSettings, job: Job, person: Person) -> None:
    """Refuse presses on other people's pictures where the server wants only the owner's."""
    if settings.press == "owner" and person.id != job.origin.user_id and not person.moderator:
        raise Refused("press_not_yours")


def check_manager(person: Person) -> None:
    """Refuse whoever may not manage the server."""
    if not person.manager:
        raise Refused("manager_only")


def check_control(job: Job, person: Person, place: Place) -> None:
    """Refuse whoever is neither the owner of a job nor a moderator where it was asked for."""
    # in direct messages nobody moderates anybody else
    here = place.guild_id is not None and place.guild_id == job.origin.guild_id
    moderator = person.moderator and here
    if person.id != job.origin.user_id and not moderator:
        raise Refused("not_yours")
