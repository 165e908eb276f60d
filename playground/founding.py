"""The world as it starts, with one server, three channels and three people; or as it was kept."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from . import permissions
from .errors import UnknownUser
from .persistence import decode
from .snowflake import Snowflake
from .world import (
    TEXT,
    Application,
    Attachment,
    Channel,
    Command,
    Guild,
    Interaction,
    Member,
    Message,
    Role,
    Tag,
    User,
    World,
)

CHANNELS = (("general", False), ("pictures", False), ("after-dark", True))
"""Name, age-restricted."""


@dataclass(frozen=True)
class Plan:
    """What a fresh world is made from: the command line's choices."""

    guild: str = "Darkroom"
    users: tuple[str, ...] = ("ada", "bo", "cy")
    bot: str = "Darkroom"


def load(world: World) -> bool:
    """Take the world from its store; False when there is none yet."""
    found = list(world.store.load("Application"))
    if not found:
        return False
    world.application = decode(Application, found[0])
    for meta in world.store.load("Meta"):
        world.secret = meta["secret"]
        world.clock.offset = meta["clock_offset"]
        world.clock.skew = meta.get("clock_skew", 0.0)
    kinds = (User, Guild, Channel, Command, Interaction, Message, Attachment)
    for kind in kinds:
        for body in world.store.load(kind.__name__):
            world.remember(decode(kind, body))
    if world.clock.skew:
        # what was made before the clock was set may have later ids
        world.snowflakes.restart()
    return True


def save_meta(world: World) -> None:
    """Keep what belongs to no record: the CDN's key and how far the clock was moved."""
    clock = {"clock_offset": world.clock.offset, "clock_skew": world.clock.skew}
    world.store.save("Meta", "0", {"secret": world.secret} | clock)


def set_skew(world: World, seconds: float) -> None:
    """What this Discord takes for the time of day, against the machine's clock."""
    world.clock.skew = seconds
    world.snowflakes.restart()
    save_meta(world)


def found(world: World, plan: Plan, token: str | None) -> None:
    """Make the bot, the first server and its people."""
    bot = User(world.snowflakes.next(), plan.bot, bot=True)
    world.save(bot)
    world.save(Application(bot.id, plan.bot, token or make_token(bot.id)))
    _found_server(world, plan, {})


def refound(world: World, plan: Plan) -> None:
    """A fresh server; the bot, its token and global commands stay, and the people's ids."""
    ids = {user.name: user.id for user in world.users.values()}
    bot, application = world.bot, world.application
    commands = [c for c in world.commands.values() if c.guild_id is None]
    world.clear()
    world.save(bot)
    world.save(application)
    for command in commands:
        world.save(command)
    _found_server(world, plan, ids)


def _found_server(world: World, plan: Plan, ids: dict[str, Snowflake]) -> None:
    people = [User(ids.get(name) or world.snowflakes.next(), name) for name in plan.users]
    for person in people:
        world.save(person)
    guild = add_guild(world, plan.guild, people[0].id if people else world.bot.id)
    for person in people:
        join(world, guild, person.id, [])
    for name, nsfw in CHANNELS:
        add_channel(world, guild, name, nsfw=nsfw)
    save_meta(world)


def make_token(bot_id: Snowflake) -> str:
    """Shaped like Discord's: the bot's id, a stamp and a secret, each base64 without padding."""
    first = base64.urlsafe_b64encode(bot_id.encode()).decode().rstrip("=")
    return f"{first}.{secrets.token_urlsafe(4)}.{secrets.token_urlsafe(28)}"


def add_user(world: World, name: str, locale: str = "en-US") -> User:
    user = User(world.snowflakes.next(), name, locale=locale)
    world.save(user)
    return user


def add_guild(world: World, name: str, owner_id: Snowflake, *, bot: bool = True) -> Guild:
    """A server with @everyone, a Moderator role and, if wanted, the bot with its own role."""
    if owner_id not in world.users:
        raise UnknownUser
    guild_id = world.snowflakes.next()
    guild = Guild(guild_id, name, owner_id, roles={}, members={})
    guild.roles[guild_id] = Role(guild_id, "@everyone", int(permissions.MEMBER))
    add_role(world, guild, "Moderator", int(permissions.MODERATOR), color=0x3BA55D)
    if bot:
        add_bot(world, guild)
    join(world, guild, owner_id, [])
    return guild


def add_bot(world: World, guild: Guild) -> Member:
    """The bot with its own role, as an invite link brings it."""
    bot_role = add_role(
        world, guild, world.bot.name, int(permissions.BOT), managed_by=world.application.id
    )
    return join(world, guild, world.bot.id, [bot_role.id])


def add_role(
    world: World,
    guild: Guild,
    name: str,
    bits: int,
    *,
    color: int = 0,
    managed_by: Snowflake | None = None,
) -> Role:
    position = 1 + max(role.position for role in guild.roles.values())
    role = Role(world.snowflakes.next(), name, bits, position, color, managed_by)
    guild.roles[role.id] = role
    world.save(guild)
    return role


def join(world: World, guild: Guild, user_id: Snowflake, roles: list[Snowflake]) -> Member:
    member = guild.members.get(user_id) or Member(user_id, [], world.clock.now())
    member.roles = roles
    guild.members[user_id] = member
    world.save(guild)
    return member


def add_channel(
    world: World,
    guild: Guild,
    name: str,
    *,
    nsfw: bool = False,
    kind: int = TEXT,
    tags: Iterable[str] = (),
) -> Channel:
    position = len(world.channels_of(guild))
    channel = Channel(world.snowflakes.next(), kind, name, guild.id, position, nsfw)
    channel.tags = [Tag(world.snowflakes.next(), tag) for tag in tags]
    world.save(channel)
    return channel
