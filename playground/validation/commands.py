"""Application commands: names, bounds, order and counts."""

from __future__ import annotations

import re
from typing import Any

from playground.world import Json

from .form import Form

NAME = re.compile(r"^[-_'\w]{1,32}$")
"""Discord's is `^[-_'\\p{L}\\p{N}\\p{sc=Deva}\\p{sc=Thai}]{1,32}$`, in lower case."""

CHAT, USER, MESSAGE = 1, 2, 3
SUB, GROUP, STRING, INTEGER, BOOLEAN, USER_OPTION = 1, 2, 3, 4, 5, 6
CHANNEL_OPTION, ROLE_OPTION, MENTIONABLE, NUMBER, ATTACHMENT = 7, 8, 9, 10, 11

MAX_TOTAL = 8000
MAX_COMMANDS = {CHAT: 100, USER: 15, MESSAGE: 15}
LARGEST = 2**53
"""Integers and numbers stay within what a double holds exactly."""


def check_command(form: Form, command: Json) -> None:
    kind = form.choice(command, "type", (CHAT, USER, MESSAGE), required=False) or CHAT
    if kind == CHAT:
        _check_name(form, command)
        form.text(command, "description", at_least=1, at_most=100, required=True)
        _check_options(form, command, depth=0)
    else:
        form.text(command, "name", at_least=1, at_most=32, required=True)
        if command.get("description"):
            message = "Context menu commands cannot have a description"
            form["description"].error("APPLICATION_COMMAND_INVALID_DESCRIPTION", message)
        if command.get("options"):
            message = "Context menu commands cannot have options"
            form["options"].error("APPLICATION_COMMAND_INVALID_OPTIONS", message)
    _check_localizations(form, command, names_lower=kind == CHAT)
    _check_permissions(form, command)
    for key, among in (("contexts", (0, 1, 2)), ("integration_types", (0, 1))):
        form.values(command, key, among)
        if command.get(key) == []:
            form[key].error("BASE_TYPE_REQUIRED", "This field is required")
    form.flag(command, "nsfw")
    if not form.errors and size(command) > MAX_TOTAL:
        message = f"Command exceeds maximum size ({MAX_TOTAL})"
        form.error("APPLICATION_COMMAND_TOO_LARGE", message)


def size(command: Json) -> int:
    """Characters of names, descriptions and values; of translations only the longest counts."""
    total = 0
    for key in ("name", "description"):
        texts = [command.get(key) or "", *(command.get(f"{key}_localizations") or {}).values()]
        total += max(len(str(text)) for text in texts)
    for choice in command.get("choices") or []:
        names = [choice.get("name", ""), *(choice.get("name_localizations") or {}).values()]
        value = choice.get("value")
        total += max(len(str(name)) for name in names)
        total += len(value) if isinstance(value, str) else 0
    return total + sum(size(option) for option in command.get("options") or [])


def _check_name(form: Form, named: Json) -> str:
    name = form.text(named, "name", at_least=1, at_most=32, required=True)
    if name and len(name) <= 32 and not valid_name(name):
        form["name"].error("APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    return name


def valid_name(name: str) -> bool:
    return bool(NAME.match(name)) and name == name.lower()


def _check_permissions(form: Form, command: Json) -> None:
    value = command.get("default_member_permissions")
    if value is not None and not str(value).isdigit():
        message = f'Value "{value}" is not int.'
        form["default_member_permissions"].error("NUMBER_TYPE_COERCE", message)


def _check_localizations(form: Form, named: Json, *, names_lower: bool) -> None:
    bounds = {"name_localizations": 32, "description_localizations": 100}
    for key, at_most in bounds.items():
        translations = form.inner(named, key) or {}
        for locale in translations:
            place = form[key]
            if locale not in LOCALES:
                message = f'Locale "{locale}" is not supported'
                place[locale].error("APPLICATION_COMMAND_INVALID_LOCALE", message)
            text = place.text(translations, locale, at_least=1, at_most=at_most)
            if key == "name_localizations" and names_lower and text and not valid_name(text):
                message = "Command name is invalid"
                place[locale].error("APPLICATION_COMMAND_INVALID_NAME", message)


def _check_options(form: Form, holder: Json, depth: int) -> None:
    names: set[str] = set()
    optional_seen = False
    kinds: set[bool] = set()
    for place, option in form.items(holder, "options", at_most=25):
        kind = place.choice(option, "type", range(1, 12))
        name = _check_name(place, option)
        place.text(option, "description", at_least=1, at_most=100, required=True)
        _check_localizations(place, option, names_lower=True)
        if name in names:
            message = "Option names must be unique"
            place["name"].error("APPLICATION_COMMAND_OPTIONS_DUPLICATE_NAME", message)
        names.add(name)
        kinds.add(kind in (SUB, GROUP))
        if kind in (SUB, GROUP):
            _check_subcommand(place, option, kind, depth)
            continue
        required = place.flag(option, "required")
        if required and optional_seen:
            message = "Required options must be placed before non-required options"
            place.error("APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen |= not required
        _check_value_option(place, option, kind)
    if len(kinds) > 1:
        message = "Sub-commands and groups are mutually exclusive to all other option types"
        form["options"].error("APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)


def _check_subcommand(form: Form, option: Json, kind: int, depth: int) -> None:
    if (kind == GROUP and depth > 0) or depth > 1:
        message = "Sub-command nesting is too deep"
        form["type"].error("APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)
        return
    if kind == GROUP and not option.get("options"):
        form.required(option, "options")
    _check_options(form, option, depth + (2 if kind == SUB else 1))


def _check_value_option(form: Form, option: Json, kind: int | None) -> None:
    has_choices = bool(option.get("choices"))
    if (has_choices or option.get("autocomplete")) and kind not in (STRING, INTEGER, NUMBER):
        message = "Choices and autocomplete are only for string, integer and number options"
        form.error("APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID", message)
    if has_choices and option.get("autocomplete"):
        message = "Choices and autocomplete are mutually exclusive"
        form["autocomplete"].error("APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID", message)
    if kind is not None:
        check_choices(form, option, kind)
    if kind == STRING:
        form.number(option, "min_length", 0, 6000)
        form.number(option, "max_length", 1, 6000)
    elif kind in (INTEGER, NUMBER):
        whole = kind == INTEGER
        form.number(option, "min_value", -LARGEST, LARGEST, whole=whole)
        form.number(option, "max_value", -LARGEST, LARGEST, whole=whole)


def check_choices(form: Form, holder: Json, kind: int) -> None:
    """The choices of an option, or those that answer an autocomplete."""
    names: set[Any] = set()
    for place, choice in form.items(holder, "choices", at_most=25):
        name = place.text(choice, "name", at_least=1, at_most=100, required=True)
        if kind == STRING:
            place.text(choice, "value", at_most=100, required=True)
        else:
            whole = kind == INTEGER
            place.number(choice, "value", -LARGEST, LARGEST, required=True, whole=whole)
        if name in names:
            message = "The specified choice name is already used"
            place["name"].error("APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_DUPLICATE", message)
        names.add(name)


LOCALES = frozenset(
    {
        "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl",
        "no", "pl", "pt-BR", "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi",
        "th", "zh-CN", "ja", "zh-TW", "ko",
    }
)  # fmt: skip
"""Discord's page "Reference", table of locales."""
