"""Pictures a day and jobs at once: pure functions that raise Refused."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from generation.refusal import Refused

WINDOW: Final = timedelta(days=1)
"""A quota holds for the last 24 hours, so that there is no midnight to wait for."""


def limit_for(roles: Sequence[int], by_role: Mapping[int, int], default: int | None) -> int | None:
    """The most generous limit of somebody's roles; `default` for those without such a role."""
    own = [by_role[role] for role in roles if role in by_role]
    return max(own) if own else default


def waiting_limit(
    roles: Sequence[int], by_role: Mapping[int, int], default: int | None, most: int
) -> int:
    """How many requests of somebody may wait or run: what the server wants, at most `most`, which
    is the bot's owner's to say.
    """
    own = limit_for(roles, by_role, default)
    return most if own is None else min(own, most)


def check_quota(
    asked: int, used: Sequence[tuple[datetime, int]], limit: int, now: datetime
) -> None:
    """Refuse what goes over a person's pictures a day, with when to come back.

    `used` are the times and numbers of the pictures of the last day, oldest first.
    """
    if asked > limit:
        raise Refused("quota_never", count=asked, limit=limit)
    recent = [(when, count) for when, count in used if when > now - WINDOW]
    over = sum(count for _, count in recent) + asked - limit
    for when, count in recent:
        if over <= 0:
            return
        over -= count
        if over <= 0:
            back = when + WINDOW
            raise Refused("quota_reached", limit=limit, when=countdown(back + timedelta(seconds=1)))


def countdown(when: datetime) -> str:
    """A time as Discord's apps count down to it."""
    return f"<t:{int(when.timestamp())}:R>"
