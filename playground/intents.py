"""Gateway intents: which events a session asked for, and which it may ask for."""

from __future__ import annotations

import enum


class Intent(enum.IntFlag):
    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


NO_INTENT = Intent(0)
"""Needed by nothing: INTERACTION_CREATE and what else every session gets."""

HIGHEST = 1 << 25
"""Bits at or above this are no intents: close code 4013."""

PRIVILEGED = {
    "presences": (Intent.GUILD_PRESENCES, 1 << 13),
    "members": (Intent.GUILD_MEMBERS, 1 << 15),
    "message_content": (Intent.MESSAGE_CONTENT, 1 << 19),
}
"""Name, intent, and the application flag (…_LIMITED) that says the developer switched it on."""


def application_flags(names: list[str]) -> int:
    return sum(PRIVILEGED[name][1] for name in names)


def disallowed(intents: int, flags: int) -> bool:
    """Does the session ask for a privileged intent that is not switched on?"""
    return any(intents & intent and not flags & flag for intent, flag in PRIVILEGED.values())
