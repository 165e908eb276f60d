"""What Discord sends with a command, held to what the command is here before anything uses it.

A person's Discord may know a command as it was before an update, for as long as it runs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import discord
from discord import AppCommandOptionType, app_commands
from discord.app_commands import AppCommandChannel, AppCommandThread

from bot.interactions.typed_texts import check_typed_texts
from bot.services import Client
from generation.refusal import Refused

Invoked = app_commands.Command[Any, ..., Any] | app_commands.ContextMenu

INTEGER_MAX: Final = 2**53
"""Discord's bound on integers, either way."""
SUBCOMMANDS: Final = (
    AppCommandOptionType.subcommand.value,
    AppCommandOptionType.subcommand_group.value,
)
MALFORMED: Final = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What reading anything but what Discord documents may raise."""


def command_of(interaction: discord.Interaction[Client]) -> Invoked | None:
    """The command that was used; None where there is none of that name, or it can't be told."""
    try:
        return interaction.command
    except MALFORMED:
        return None


def check_command(interaction: discord.Interaction[Client]) -> None:
    """Raise Refused for a command that is not here, or not with such options."""
    command = command_of(interaction)
    try:
        given = {name: value for name, value in interaction.namespace}  # noqa: C416 - no mapping
    except MALFORMED:
        raise Refused("command_changed") from None
    if command is None:
        raise Refused("command_changed")
    if isinstance(command, app_commands.ContextMenu):
        if not _has_message(interaction.data):
            raise Refused("command_changed")
        return
    completing = interaction.type is discord.InteractionType.autocomplete
    parameters = {parameter.display_name: parameter for parameter in command.parameters}
    missing = {name for name, parameter in parameters.items() if parameter.required} - given.keys()
    if not given.keys() <= parameters.keys() or (missing and not completing):
        raise Refused("command_changed")
    for name, value in given.items():
        type_ = parameters[name].type
        # what is not a text may be half typed, and pictures come without their data
        half = completing and type_ is not AppCommandOptionType.string
        if not (_is_scalar if half else FITS[type_])(value):
            raise Refused("command_changed")
    if completing:
        # the texts of a command are checked where what was typed is kept
        check_typed_texts(interaction.data)
        focused = _focused(interaction.data)
        if focused not in given or not parameters[focused].autocomplete:
            raise Refused("command_changed")


def _focused(data: Any) -> str:
    """The name of the option that is being typed, of data that could be read."""
    options = data.get("options", [])
    while options and options[0]["type"] in SUBCOMMANDS:
        options = options[0].get("options", [])
    return next((option["name"] for option in options if option.get("focused")), "")


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | float | discord.Object) or _is_integer(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= INTEGER_MAX


ATTACHMENT: Final[Mapping[str, Any]] = {
    "filename": str,
    "url": str,
    "size": int,
    "width": int | None,
    "height": int | None,
    "content_type": str | None,
}
"""What is used of an attachment, and its types."""


def _is_attachment(value: object) -> bool:
    return isinstance(value, discord.Attachment) and all(
        isinstance(getattr(value, name), type_) for name, type_ in ATTACHMENT.items()
    )


def _is_whole(value: object) -> bool:
    """Whether a text, if it is one, has no half characters, which nothing takes that keeps it."""
    return not isinstance(value, str) or not any("\ud800" <= sign <= "\udfff" for sign in value)


def _has_message(data: Any) -> bool:
    """Whether there is a whole message with a menu's data."""
    try:
        message = data["resolved"]["messages"][data["target_id"]]
        attachments = message["attachments"]
        flagged = isinstance(message.get("flags", 0), int)
        return (
            flagged
            and "id" in message["author"]
            and all(
                all(isinstance(each.get(name), type_) for name, type_ in ATTACHMENT.items())
                and all(map(_is_whole, each.values()))
                for each in attachments
            )
        )
    except MALFORMED:
        return False


FITS: Final[Mapping[AppCommandOptionType, Callable[[object], bool]]] = {
    AppCommandOptionType.string: lambda value: isinstance(value, str),
    AppCommandOptionType.integer: lambda v: _is_integer(v) and not isinstance(v, bool),
    AppCommandOptionType.boolean: lambda value: isinstance(value, bool),
    AppCommandOptionType.number: lambda value: isinstance(value, float),
    AppCommandOptionType.channel: lambda v: isinstance(v, AppCommandChannel | AppCommandThread),
    AppCommandOptionType.user: lambda v: isinstance(v, discord.Member | discord.User),
    AppCommandOptionType.attachment: _is_attachment,
}
"""What an option of a type is, once discord.py has read it; the bot has no other types."""
