"""`/moderate`: what those who manage a server do about one of its members."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import discord
import msgspec
from discord import app_commands
from discord.app_commands import locale_str

from bot.access import quotas
from bot.access.caller import Caller
from bot.interactions.contexts import SERVERS, Callback, Command
from bot.interactions.responding import Interaction, reply_privately, responding
from bot.services import Services
from generation.refusal import Refused
from storage.settings import PEOPLE_MAX, GuildSettings

Member = discord.Member | discord.User
"""Somebody who has left the server may be meant, too."""


def group(services: Services) -> app_commands.Group:
    """The command and what belongs to it."""
    found = app_commands.Group(
        name=locale_str("moderate", key="command_moderate"),
        description=locale_str("Block members, forgive their quota", key="command_moderate_help"),
        allowed_contexts=SERVERS,
        default_permissions=discord.Permissions(manage_guild=True),
    )
    for name, (help_, make) in COMMANDS.items():
        found.add_command(_command(name, help_, make(services)))
    return found


def _command(name: str, help_: str, callback: Callback) -> Command:
    described = app_commands.describe(
        user=locale_str("the member", key="option_moderate_user_help")
    )
    return app_commands.Command[Any, ..., None](
        name=locale_str(name, key=f"command_moderate_{name}"),
        description=locale_str(help_, key=f"command_moderate_{name}_help"),
        callback=described(callback),
    )


def _show(services: Services) -> Callback:
    async def show(interaction: Interaction, user: Member) -> None:
        async with responding(interaction) as caller:
            guild_id, now, texts = _guild_of(caller), services.clock.now(), caller.texts
            roles = [role.id for role in getattr(user, "roles", ())]
            limit = quotas.limit_for(roles, caller.guild.quota_by_role, caller.guild.quota)
            quota = (user.id, guild_id, now - quotas.WINDOW)
            count = await services.store.usage.count_since(*quota)
            lines = [texts("moderate_pictures", who=user.mention, count=count)]
            if limit is None:
                lines.append(texts("moderate_no_limit"))
            else:
                lines.append(texts("moderate_limit", limit=limit))
            used = []
            if limit is not None and count >= limit:
                used = await services.store.usage.pictures_since(*quota)
            if used:
                back = used[0][0] + quotas.WINDOW + timedelta(seconds=1)
                lines.append(texts("moderate_back", when=quotas.countdown(back)))
            if user.id in caller.guild.blocked:
                lines.append(texts("moderate_blocked"))
            await reply_privately(interaction, "\n".join(lines))

    return show


def _block(services: Services) -> Callback:
    async def block(interaction: Interaction, user: Member) -> None:
        async with responding(interaction) as caller:
            if user.id == caller.person.id:
                raise Refused("block_oneself")
            if user.bot:
                raise Refused("block_bot")

            def change(now: GuildSettings) -> GuildSettings:
                blocked = tuple(dict.fromkeys((*now.blocked, user.id)))
                if len(blocked) > PEOPLE_MAX:
                    raise Refused("list_too_many", count=len(blocked), high=PEOPLE_MAX)
                return msgspec.structs.replace(now, blocked=blocked)

            guild_id = _guild_of(caller)
            await services.store.settings.change_guild(guild_id, change)
            jobs = services.store.jobs
            for job in [*await jobs.waiting(), *await jobs.running_of(user.id)]:
                if (job.origin.user_id, job.origin.guild_id) == (user.id, guild_id):
                    with contextlib.suppress(Refused):  # one that has just ended
                        await services.requests.made.cancel(job)
            await reply_privately(interaction, caller.texts("person_is_blocked", who=user.mention))

    return block


def _unblock(services: Services) -> Callback:
    async def unblock(interaction: Interaction, user: Member) -> None:
        async with responding(interaction) as caller:
            if user.id not in caller.guild.blocked:
                raise Refused("person_not_blocked")
            await services.store.settings.change_guild(
                _guild_of(caller),
                lambda now: msgspec.structs.replace(
                    now, blocked=tuple(one for one in now.blocked if one != user.id)
                ),
            )
            said = caller.texts("person_is_unblocked", who=user.mention)
            await reply_privately(interaction, said)

    return unblock


def _reset_quota(services: Services) -> Callback:
    async def reset_quota(interaction: Interaction, user: Member) -> None:
        async with responding(interaction) as caller:
            await services.store.usage.reset(user.id, _guild_of(caller))
            await reply_privately(interaction, caller.texts("quota_is_reset", who=user.mention))

    return reset_quota


COMMANDS: Final[Mapping[str, tuple[str, Callable[[Services], Callback]]]] = {
    "show": ("What a member has asked for and may ask for", _show),
    "block": ("Have a member ask for nothing here any more", _block),
    "unblock": ("Have a blocked member ask for pictures again", _unblock),
    "reset_quota": ("Forget what a member has had drawn today", _reset_quota),
}
"""What each does, in English, and what makes it."""


def _guild_of(caller: Caller) -> int:
    """The server's id. Raises Refused where there is none."""
    if caller.place.guild_id is None:
        raise Refused("servers_only_command")
    return caller.place.guild_id
