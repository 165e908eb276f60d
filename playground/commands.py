"""Application commands: registered by the bot, found and used by people."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .errors import Refused, TooManyCommands, UnknownCommand
from .events import Events
from .objects import Objects
from .permissions import Permission, in_guild
from .snowflake import Snowflake
from .validation.commands import (
    CHAT,
    GROUP,
    MAX_COMMANDS,
    SUB,
    check_command,
)
from .validation.form import Form
from .world import DM, FORUM, TO_GUILD, TO_USER, Channel, Command, Json, User, World

IN_GUILD, IN_BOT_DM, IN_PRIVATE_CHANNEL = 0, 1, 2
"""Interaction contexts."""


class Commands:
    def __init__(self, world: World, objects: Objects, events: Events) -> None:
        self.world = world
        self.objects = objects
        self.events = events

    # -- the bot registers ------------------------------------------------------------------

    def registered(self, guild_id: Snowflake | None) -> list[Command]:
        return [c for c in self.world.commands.values() if c.guild_id == guild_id]

    def overwrite(self, guild_id: Snowflake | None, bodies: Any) -> list[Command]:
        """All at once: what is not in the list goes; the same name and type keeps its id."""
        form = Form()
        names: Counter[tuple[str, int]] = Counter()
        for index, body in enumerate(object_list(bodies)):
            check_command(form[index], body)
        form.done()
        for index, body in enumerate(bodies):
            key = (body["name"], body.get("type") or CHAT)
            names[key] += 1
            if names[key] > 1:
                message = "Application command names must be unique"
                form[index]["name"].error("APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        form.done()
        self._check_counts(Counter(kind for _, kind in names))
        before = {(c.name, c.type): c for c in self.registered(guild_id)}
        for command in before.values():
            if (command.name, command.type) not in names:
                self.world.remove(command)
        made = [self._put(guild_id, body, before) for body in bodies]
        self._updated()
        return made

    def upsert(self, guild_id: Snowflake | None, body: Json) -> tuple[Command, bool]:
        """One command; an existing one of that name and type is replaced. True when it is new."""
        form = Form()
        check_command(form, body)
        form.done()
        before = {(c.name, c.type): c for c in self.registered(guild_id)}
        counts = Counter(kind for _, kind in {*before, (body["name"], body.get("type") or CHAT)})
        self._check_counts(counts)
        known = len(self.world.commands)
        command = self._put(guild_id, body, before)
        self._updated()
        return command, len(self.world.commands) > known

    def edit(self, command: Command, changes: Json) -> Command:
        body = command.body | changes
        form = Form()
        check_command(form, body)
        form.done()
        command.body = self._clean(body)
        command.version = self.world.snowflakes.next()
        self.world.save(command)
        self._updated()
        return command

    def delete(self, command: Command) -> None:
        self.world.remove(command)
        self._updated()

    def get(self, guild_id: Snowflake | None, command_id: Snowflake) -> Command:
        command = self.world.commands.get(command_id)
        if command is None or command.guild_id != guild_id:
            raise UnknownCommand
        return command

    def _put(
        self, guild_id: Snowflake | None, body: Json, before: dict[tuple[str, int], Command]
    ) -> Command:
        cleaned = self._clean(body)
        command = before.get((cleaned["name"], cleaned["type"]))
        if command is None:
            new_id = self.world.snowflakes.next()
            command = Command(new_id, guild_id, new_id, cleaned)
        elif command.body != cleaned:
            command.body = cleaned
            command.version = self.world.snowflakes.next()
        self.world.save(command)
        return command

    def _clean(self, body: Json) -> Json:
        """What says nothing about installation is for all that the application supports."""
        cleaned = clean_command(body)
        if not cleaned["integration_types"]:
            cleaned["integration_types"] = list(self.world.application.integration_types)
        return cleaned

    def _check_counts(self, counts: Counter[int]) -> None:
        for kind, count in counts.items():
            if count > MAX_COMMANDS[kind]:
                text = f"Maximum number of application commands reached ({MAX_COMMANDS[kind]})"
                raise TooManyCommands(message=text)

    def _updated(self) -> None:
        self.events.to_everyone("COMMANDS_UPDATE", {})

    # -- people use -------------------------------------------------------------------------

    def usable_by(self, user_id: Snowflake) -> list[Command]:
        """Those that the person could use somewhere."""
        places = [c for c in self.world.channels.values() if c.type != DM or c.people]
        direct = Channel("0", DM, recipient_id=user_id)
        return [
            command
            for command in self.world.commands.values()
            if any(self.why_not(command, user_id, place) is None for place in (*places, direct))
        ]

    def why_not(self, command: Command, user_id: Snowflake, channel: Channel) -> str | None:
        """Why the person can't use the command in the channel; None when they can."""
        if Permission.VIEW_CHANNEL not in self.objects.permissions(channel, user_id):
            return "You can't see this channel."
        if command.guild_id is not None and command.guild_id != channel.guild_id:
            return "This command belongs to another server."
        if context_of(channel) not in contexts(command.body) or channel.type == FORUM:
            return "This command can't be used here."
        if command.body["nsfw"] and channel.type != DM and not self.world.is_nsfw(channel):
            return "This command can only be used in age-restricted channels."
        guild = self.world.guild_of(channel)
        if guild is not None:
            granted = self.objects.permissions(channel, user_id)
            if Permission.USE_APPLICATION_COMMANDS not in granted:
                return "You may not use application commands in this channel."
            if self.world.bot.id in guild.members:
                # where both are there, the server's rules hold
                return self._not_as_servers(command, user_id, channel)
        user = self.world.users[user_id]
        as_users = self._not_as_users(command, user)
        as_servers = self._not_as_servers(command, user_id, channel)
        if as_users is None or as_servers is None:
            return None
        return as_users if user.has_app else as_servers

    def installations(self, command: Command, user_id: Snowflake, channel: Channel) -> Json:
        """`authorizing_integration_owners`: by whose installations the command is there."""
        owners: Json = {}
        if self._not_as_servers(command, user_id, channel) is None:
            owners[str(TO_GUILD)] = channel.guild_id or "0"
        if self._not_as_users(command, self.world.users[user_id]) is None:
            owners[str(TO_USER)] = user_id
        return owners

    def _not_as_users(self, command: Command, user: User) -> str | None:
        """Why the app that the person installed for themself does not bring the command."""
        if not user.has_app or command.guild_id is not None:
            return "You have not installed this app."
        if TO_USER not in command.body["integration_types"]:
            return "This command can't be used with an app that is installed to a person."
        return None

    def _not_as_servers(self, command: Command, user_id: Snowflake, channel: Channel) -> str | None:
        """Why the app that the server has does not bring the command; in a DM, the bot's own."""
        if command.guild_id is None and TO_GUILD not in command.body["integration_types"]:
            return "This command can't be used with an app that is installed to a server."
        guild = self.world.guild_of(channel)
        if guild is None and channel.people:
            return "The bot is not in this conversation."
        if guild is None:
            return None if self.world.meets_bot(user_id) else "You share no server with the bot."
        if self.world.bot.id not in guild.members:
            return "The bot is not in this server."
        needed = command.body["default_member_permissions"]
        if needed is not None:
            own = in_guild(guild, guild.members[user_id])
            administrator = Permission.ADMINISTRATOR in own
            # "0" is for administrators alone
            if not administrator and (needed == "0" or Permission(int(needed)) & ~own):
                return "You don't have permission to use this command."
        return None


def context_of(channel: Channel) -> int:
    """Where an interaction is: in a server, in the bot's DM or in one of others."""
    if channel.type != DM:
        return IN_GUILD
    return IN_PRIVATE_CHANNEL if channel.people else IN_BOT_DM


def object_list(given: Any) -> list[Json]:
    """The body of a bulk overwrite; 50035 unless it is a list of objects."""
    form = Form()
    if not isinstance(given, list):
        form.error("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    else:
        for index, item in enumerate(given):
            if not isinstance(item, dict):
                message = "Only dictionaries may be used in a DictType"
                form[index].error("DICT_TYPE_CONVERT", message)
    form.done()
    return list(given)


def contexts(body: Json) -> list[int]:
    """Where a command may be used; before contexts there was `dm_permission`."""
    if body.get("contexts") is not None:
        return list(body["contexts"])
    return [IN_GUILD, IN_BOT_DM, 2] if body.get("dm_permission", True) else [IN_GUILD]


def clean_command(body: Json) -> Json:
    """The command as Discord stores and returns it."""
    permissions = body.get("default_member_permissions")
    cleaned: Json = {
        "name": body["name"],
        "name_localizations": body.get("name_localizations"),
        "description": body.get("description") or "",
        "description_localizations": body.get("description_localizations"),
        "type": int(body.get("type") or CHAT),
        "default_member_permissions": None if permissions is None else str(permissions),
        "dm_permission": body.get("dm_permission") is not False,
        "contexts": body.get("contexts"),
        "integration_types": body.get("integration_types") or [],
        "nsfw": bool(body.get("nsfw")),
    }
    if body.get("options"):
        cleaned["options"] = [_clean_option(option) for option in body["options"]]
    return cleaned


def _clean_option(option: Json) -> Json:
    cleaned = {k: v for k, v in option.items() if v is not None and v is not False and v != []}
    if option.get("options"):
        cleaned["options"] = [_clean_option(o) for o in option["options"]]
    return cleaned


# -- what a person typed --------------------------------------------------------------------


def check_options(definition: Json, given: list[Json], *, complete: bool) -> None:
    """Refuse options that Discord's own client would not send.

    `complete` is False while the person is still typing (autocomplete).
    """
    defined = {o["name"]: o for o in definition.get("options") or []}
    for option in given:
        name = option.get("name")
        if name not in defined:
            raise Refused(message=f"The command has no option {name!r}.")
        expected = defined[name]
        if option.get("type") != expected["type"]:
            raise Refused(message=f"Option {name!r} is of type {expected['type']}.")
        if expected["type"] in (SUB, GROUP):
            check_options(expected, option.get("options") or [], complete=complete)
        elif complete:
            _check_value(expected, option.get("value"))
    nested = [o for o in defined.values() if o["type"] in (SUB, GROUP)]
    if nested and len(given) != 1:
        raise Refused(message="Choose one sub-command.")
    names = {o["name"] for o in given}
    for option in defined.values():
        if complete and option.get("required") and option["name"] not in names:
            raise Refused(message=f"Option {option['name']!r} is required.")


def _check_value(option: Json, value: Any) -> None:
    name, kind = option["name"], option["type"]
    types: dict[int, tuple[type, ...]] = {3: (str,), 4: (int,), 5: (bool,), 10: (int, float)}
    expected = types.get(kind, (str,))
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != 5):
        raise Refused(message=f"Option {name!r} can't be {value!r}.")
    if choices := option.get("choices"):
        if value not in [choice["value"] for choice in choices]:
            raise Refused(message=f"Option {name!r} must be one of its choices.")
        return
    size: Any = len(value) if isinstance(value, str) else value
    key = "length" if kind == 3 else "value"
    low, high = option.get(f"min_{key}"), option.get(f"max_{key}", 6000 if kind == 3 else None)
    if kind in (3, 4, 10) and (
        (low is not None and size < low) or (high is not None and size > high)
    ):
        raise Refused(message=f"Option {name!r} must be from {low} to {high}.")


def leaves(options: list[Json]) -> list[Json]:
    """The options with values, below sub-commands and groups."""
    found: list[Json] = []
    for option in options:
        if option.get("type") in (SUB, GROUP):
            found += leaves(option.get("options") or [])
        else:
            found.append(option)
    return found


def path_of(name: str, options: list[Json]) -> str:
    """`name sub` or `name group sub`, as message metadata shows it."""
    for option in options:
        if option.get("type") in (SUB, GROUP):
            return path_of(f"{name} {option['name']}", option.get("options") or [])
    return name
