"""Who may do what where: Discord's permission bits and how roles and overwrites combine.

The algorithm is that of Discord's page "Permissions": the guild's base, then the channel's
overwrites for @everyone, for the roles together, for the member.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from .errors import MissingPermissions
from .world import Channel, Guild, Member


class Permission(enum.IntFlag):
    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    MODERATE_MEMBERS = 1 << 40
    SEND_VOICE_MESSAGES = 1 << 46
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51


P = Permission
NONE = Permission(0)
ALL = Permission(sum(Permission))

MEMBER = (
    P.CREATE_INSTANT_INVITE
    | P.ADD_REACTIONS
    | P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.USE_EXTERNAL_EMOJIS
    | P.CONNECT
    | P.SPEAK
    | P.CHANGE_NICKNAME
    | P.USE_APPLICATION_COMMANDS
    | P.CREATE_PUBLIC_THREADS
    | P.CREATE_PRIVATE_THREADS
    | P.SEND_MESSAGES_IN_THREADS
    | P.SEND_POLLS
    | P.USE_EXTERNAL_APPS
)
"""What @everyone may do in a new server."""

MODERATOR = P.MANAGE_MESSAGES | P.PIN_MESSAGES | P.MODERATE_MEMBERS | P.KICK_MEMBERS

BOT = (
    P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.ADD_REACTIONS
    | P.USE_EXTERNAL_EMOJIS
    | P.SEND_MESSAGES_IN_THREADS
)
"""What an ordinary invite link asks for."""

USER_INSTALLED = (
    P.EMBED_LINKS | P.ATTACH_FILES | P.MENTION_EVERYONE | P.USE_EXTERNAL_EMOJIS | P.SEND_POLLS
)
"""All that an app may do, in its answers, where its bot is no member and where there are no roles
(as `app_permissions` tells it)."""

DIRECT = MEMBER | P.PIN_MESSAGES | P.MENTION_EVERYONE
"""In a direct message, where there are no roles."""

VIEWING = int(P.VIEW_CHANNEL)
WITH_MESSAGES = int(P.MENTION_EVERYONE | P.SEND_TTS_MESSAGES | P.ATTACH_FILES | P.EMBED_LINKS)
"""Of no use to who may not send messages."""

WHILE_TIMED_OUT = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY


def in_guild(guild: Guild, member: Member) -> Permission:
    """The member's permissions before any channel's overwrites."""
    if guild.owner_id == member.user_id:
        return ALL
    bits = guild.roles[guild.id].permissions
    for role_id in member.roles:
        if role_id in guild.roles:
            bits |= guild.roles[role_id].permissions
    return ALL if bits & P.ADMINISTRATOR else Permission(bits)


def in_channel(
    guild: Guild,
    channel: Channel,
    member: Member,
    now: float,
    sending: Permission = Permission.SEND_MESSAGES,
) -> Permission:
    """The member's permissions in one channel; `now` (Unix seconds) decides on a time-out.

    Without `sending` (in threads: SEND_MESSAGES_IN_THREADS) what goes into messages is no use.
    """
    granted = in_guild(guild, member)
    if granted == ALL:
        return ALL
    # plain numbers: a flood of events asks this thousands of times a second
    bits, overwrites = int(granted), channel.overwrites
    if everyone := overwrites.get(guild.id):
        bits = bits & ~everyone.deny | everyone.allow
    roles = [overwrites[role] for role in member.roles if role in overwrites]
    bits = bits & ~_union(o.deny for o in roles) | _union(o.allow for o in roles)
    if own := overwrites.get(member.user_id):
        bits = bits & ~own.deny | own.allow
    if not bits & VIEWING:
        return NONE
    if not bits & int(sending):
        bits &= ~WITH_MESSAGES
    if member.timed_out_until is not None and member.timed_out_until > now:
        bits &= int(WHILE_TIMED_OUT)
    return Permission(bits)


def require(granted: Permission, needed: Permission) -> None:
    """Raise 50013 unless everything needed is granted."""
    if needed & ~granted:
        raise MissingPermissions


def _union(bits: Iterable[int]) -> int:
    result = 0
    for value in bits:
        result |= value
    return result
