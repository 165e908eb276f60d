"""Who a message mentions, after `allowed_mentions` and the author's permissions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .permissions import Permission
from .snowflake import Snowflake
from .world import Json, World

USER = re.compile(r"<@!?(\d+)>")
ROLE = re.compile(r"<@&(\d+)>")
EVERYONE = re.compile(r"@(everyone|here)\b")
EVERYTHING: Json = {"parse": ["users", "roles", "everyone"]}


@dataclass(frozen=True)
class Mentions:
    users: list[Snowflake]
    roles: list[Snowflake]
    everyone: bool


def find(
    world: World,
    text: str,
    allowed: Json | None,
    permissions: Permission,
    replied_to: Snowflake | None,
) -> Mentions:
    """`replied_to` is the author of the message answered to; mentioned unless switched off."""
    allowed = EVERYTHING if allowed is None else allowed
    parse = allowed.get("parse") or []
    users = [u for u in dict.fromkeys(USER.findall(text)) if u in world.users]
    roles = [r for r in dict.fromkeys(ROLE.findall(text)) if _is_role(world, r)]
    if "users" not in parse:
        users = [u for u in users if u in _ids(allowed, "users")]
    if "roles" not in parse:
        roles = [r for r in roles if r in _ids(allowed, "roles")]
    if replied_to is not None and allowed.get("replied_user", allowed is EVERYTHING):
        users = list(dict.fromkeys([*users, replied_to]))
    may_all = Permission.MENTION_EVERYONE in permissions and "everyone" in parse
    return Mentions(users, roles, may_all and bool(EVERYONE.search(text)))


def _ids(allowed: Json, key: str) -> set[str]:
    return {str(value) for value in allowed.get(key) or []}


def _is_role(world: World, role_id: Snowflake) -> bool:
    return any(role_id in guild.roles for guild in world.guilds.values())
