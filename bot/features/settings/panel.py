"""The settings panel: one row a setting, shown and changed in one message."""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, get_args

import discord
import msgspec

from bot.access import blocklist
from bot.access.caller import Caller
from bot.locales import LOCALES, Texts
from bot.ui.formatting import quoted
from bot.ui.modal import WRITTEN, Modal
from bot.ui.persistent_items import StatelessLayout
from generation.picture_files import SUFFIXES as FORMATS
from generation.refusal import Refused
from generation.request_options import bounds_of
from storage.settings import (
    PEOPLE_MAX,
    PHRASES_MAX,
    GuildSettings,
    PersonSettings,
    Scope,
    UnsafePictures,
)

SCOPES: Final[Mapping[Scope, type[msgspec.Struct]]] = {
    "guild": GuildSettings,
    "person": PersonSettings,
}
"""Where the bounds of a setting are declared."""
SettingKind = Literal[
    "toggle",
    "choice",
    "preset",
    "channel_preset",
    "channels",
    "channel",
    "number",
    "number_by_role",
    "names_by_role",
    "people",
    "lines",
]


Entry = TypeVar("Entry", int, str)
PRESET_MAX: Final = 200
TROUBLES_SHOWN: Final = 3
VALUE_SHOWN: Final = 140
"""Characters of a list in the panel, which has 4000 for all settings."""
BY_ROLE: Final = frozenset(("number_by_role", "names_by_role"))
TABLES: Final = BY_ROLE | {"channel_preset"}
IDS: Final = frozenset(("channels", "people"))
LISTS: Final = TABLES | IDS | {"lines"}
"""Kinds of settings that have entries; those of tables have a value each, IDS are Discord's ids
alone."""
SEEN: Final = "seen"
"""Beside what was entered: the mark of the value or the list that the dialog showed."""


class SettingChanged(Refused):
    """Somebody else has changed what was changed here; `seen` is the mark of what it is now."""

    def __init__(self, seen: str) -> None:
        super().__init__("setting_changed")
        self.seen = seen


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: the field of GuildSettings or PersonSettings, and how it is changed."""

    name: str
    scope: Scope
    kind: SettingKind
    choices: tuple[str, ...] = ()
    """Of a choice: values; "" stands for none."""

    @property
    def key(self) -> str:
        """What the panel's menu knows it by."""
        return f"{self.scope}.{self.name}"


def _guild(name: str, kind: SettingKind, **more: Any) -> Setting:
    return Setting(name=name, scope="guild", kind=kind, **more)


SETTINGS: Final[Mapping[str, Setting]] = {
    setting.key: setting
    for setting in (
        _guild("default_preset", "preset"),
        _guild("channel_presets", "channel_preset"),
        _guild("channels", "channels"),
        _guild("press", "choice", choices=("anyone", "owner")),
        _guild("quota", "number"),
        _guild("quota_by_role", "number_by_role"),
        _guild("waiting", "number"),
        _guild("waiting_by_role", "number_by_role"),
        _guild("weight_by_role", "number_by_role"),
        _guild("age_restricted", "toggle"),
        _guild("blocklist", "lines"),
        _guild("blocked", "people"),
        _guild("reserved", "names_by_role"),
        _guild("picture_check", "choice", choices=get_args(UnsafePictures)),
        _guild("spoiler", "toggle"),
        _guild("keep_pictures", "number"),
        _guild("keep_prompts", "number"),
        _guild("format", "choice", choices=("", *FORMATS)),
        _guild("quality", "number"),
        _guild("audit_channel", "channel"),
        _guild("language", "choice", choices=("", *LOCALES)),
        Setting(name="default_preset", scope="person", kind="preset"),
        Setting(name="private", scope="person", kind="toggle"),
        Setting(name="ping", scope="person", kind="toggle"),
        Setting(name="format", scope="person", kind="choice", choices=("", *FORMATS)),
        Setting(name="language", scope="person", kind="choice", choices=("", *LOCALES)),
    )
}


def shown(
    caller: Caller,
    *,
    audit_closed: bool = False,
    audit_lost: int = 0,
    troubles: Sequence[tuple[str, Mapping[str, str]]] = (),
) -> discord.ui.LayoutView:
    """The panel: the person's settings; in a server, its settings too, to change for managers.

    `audit_closed`: the audit channel can't be written to. `audit_lost`: lines that did not get
    there. `troubles`: what the bot can't do in channels, as keys of sentences and what they name.
    """
    texts = caller.texts
    view = StatelessLayout()
    for scope in ("guild", "person"):
        if scope == "guild" and caller.place.guild_id is None:
            continue
        settings = [setting for setting in SETTINGS.values() if setting.scope == scope]
        lines = [f"### {texts(f'settings_{scope}')}"]
        lines += [f"**{texts(title(s))}**: {value(s, caller)}" for s in settings]
        if scope == "guild" and audit_closed:
            lines.append(texts("audit_closed"))
        if scope == "guild" and audit_lost:
            lines.append(texts("audit_lost", count=audit_lost))
        if scope == "guild" and caller.person.manager:
            lines += [texts(key, **params) for key, params in troubles[:TROUBLES_SHOWN]]
        parts: list[Any] = [discord.ui.TextDisplay("\n".join(lines))]
        if scope == "person" or caller.person.manager:
            menu: discord.ui.Select[Any] = discord.ui.Select(
                custom_id=f"darkroom:settings:{scope}",
                placeholder=texts("settings_change"),
                options=[
                    discord.SelectOption(label=texts(title(s))[:100], value=s.name)
                    for s in settings
                ],
            )
            parts.append(discord.ui.ActionRow(menu))
        view.add_item(discord.ui.Container(*parts))
    return view


def title(setting: Setting) -> str:
    """The key of a setting's name."""
    return f"setting_{setting.name}"


def value(setting: Setting, caller: Caller, *, whole: bool = False) -> str:
    """What a setting is now, in words; of a long list its beginning, unless it is wanted whole."""
    texts = caller.texts
    now = current(setting, caller)
    if setting.kind in TABLES | IDS and now:
        written = written_entries(setting, caller)
        return ", ".join(written) if whole else _beginning(written, texts)
    match setting.kind:
        case "toggle":
            return texts("yes" if now else "no")
        case "choice":
            return texts(choice_key(setting, now or ""))
        case "channels":
            return texts("setting_everywhere")
        case "people":
            return texts("setting_nobody")
        case "channel_preset" | "number_by_role" | "names_by_role":
            return texts("setting_none")
        case "lines":
            return texts("setting_lines", count=len(now)) if now else texts("setting_none")
        case "channel":
            return f"<#{now}>" if now else texts("setting_none")
        case "number" if now is None:
            # how much may wait is bounded in config.toml too
            own = {
                "waiting": "setting_usual",
                **dict.fromkeys(
                    ("quality", "keep_pictures", "keep_prompts"), "setting_quality_usual"
                ),
            }
            return texts(own.get(setting.name, "setting_unlimited"))
    return texts("setting_none") if now is None else _escaped(str(now))


def written_entries(setting: Setting, caller: Caller) -> list[str]:
    """The entries of a list, in words."""
    now = current(setting, caller)
    match setting.kind:
        case "channels":
            return [f"<#{channel}>" for channel in now]
        case "people":
            return [f"<@{person}>" for person in now]
        case "channel_preset":
            return [f"<#{channel}> → {_escaped(name)}" for channel, name in now.items()]
        case "number_by_role":
            return [f"<@&{role}> → {caller.texts.number(number)}" for role, number in now.items()]
        case "names_by_role":
            return [f"<@&{role}> → {_escaped(', '.join(names))}" for role, names in now.items()]
    return [_escaped(str(entry)) for entry in now]


def raw_entries(setting: Setting, caller: Caller) -> list[str]:
    """The entries as a file has them, one a line."""
    now = current(setting, caller)
    if setting.kind == "names_by_role":
        return [f"{role}: {name}" for role, names in now.items() for name in names]
    if isinstance(now, dict):
        return [f"{key}: {value}" for key, value in now.items()]
    return [str(entry) for entry in now]


def _beginning(written: Sequence[str], texts: Texts) -> str:
    """As many entries as a line of the panel holds, and how many more there are."""
    shown, size = 0, 0
    for entry in written:
        size += len(entry) + 2
        if size > VALUE_SHOWN and shown:
            break
        shown += 1
    if shown == len(written):
        return ", ".join(written)
    return ", ".join(written[:shown]) + texts("setting_more", count=len(written) - shown)


def current(setting: Setting, caller: Caller) -> Any:
    """What a setting is now."""
    return getattr(caller.guild if setting.scope == "guild" else caller.own, setting.name)


def items(setting: Setting, caller: Caller) -> list[Any]:
    """The entries of a list; of a table with their values."""
    now = current(setting, caller)
    return list(now.items()) if isinstance(now, dict) else list(now)


def choice_key(setting: Setting, chosen: str) -> str:
    """The key of a choice's name."""
    if setting.name == "language":
        return f"language_{chosen.replace('-', '_').lower() or 'auto'}"
    return f"setting_{setting.name}_{chosen or 'usual'}"


def modal_of(setting: Setting, caller: Caller) -> Modal:
    """Where a setting is changed that is more than yes or no."""
    texts = caller.texts
    now = current(setting, caller)
    where = f"darkroom:setting:{setting.scope}:{setting.name}"
    where += f":{mark(items(setting, caller) if setting.kind in LISTS else [_same(now)])}"
    asked = Modal(where, texts(title(setting)))
    label = texts(title(setting))
    match setting.kind:
        case "choice":
            names = {choice: texts(choice_key(setting, choice)) for choice in setting.choices}
            asked.options("value", label, {choice or "-": n for choice, n in names.items()}, now)
        case "channels":
            asked.channels("value", label, list(now), several=True)
        case "channel":
            chosen = [now] if now else []
            asked.channels("value", label, chosen, several=False, types=WRITTEN)
        case "channel_preset":
            asked.channels("channel", texts("dialog_channel"), [], several=False)
            asked.text("value", texts("dialog_preset_or_none"))
        case "number_by_role":
            asked.roles("role", texts("dialog_role"))
            asked.text("value", texts("dialog_number_or_none"))
        case "people":
            asked.people("value", label, list(now))
        case "names_by_role":
            asked.roles("role", texts("dialog_role"))
            asked.text("value", texts("dialog_names_or_none"), long=True)
        case "lines":
            asked.text("value", texts("dialog_blocklist"), value="\n".join(now), long=True)
        case _:
            asked.text("value", label, value="" if now is None else str(now))
    return asked


def changed(setting: Setting, caller: Caller, values: Mapping[str, Any]) -> Any:
    """The new value, from what was entered; what was not touched stays as it is now.

    Raises Refused, whatever was entered, and SettingChanged.
    """
    now = current(setting, caller)
    new = _entered(setting, now, values)
    seen = values.get(SEEN)
    if seen is None or setting.kind in LISTS or setting.kind == "toggle":
        return new
    if mark([_same(new)]) == seen:
        return now
    if mark([_same(now)]) not in (seen, mark([_same(new)])):
        raise SettingChanged(mark([_same(now)]))
    return new


def _same(value: Any) -> Any:
    """What two values that mean the same have in common: a preset is found in any case."""
    return value.casefold() if isinstance(value, str) else value


def _entered(setting: Setting, now: Any, values: Mapping[str, Any]) -> Any:
    entered = entered_text(values)
    match setting.kind:
        case "toggle":
            return not now
        case "choice":
            chosen = "".join(_chosen(values, "value")[:1]).removeprefix("-")
            if chosen not in setting.choices:
                raise Refused("nothing_chosen")
            return chosen or None
        case "channels":
            return _joined(now, listed(setting, values), values)
        case "people":
            return checked(setting, _joined(now, listed(setting, values), values))
        case "channel":
            return next(iter(_ids(values, "value")), None)
        case "channel_preset":
            return _with(now, chosen_id(values, "channel"), entered or None, values)
        case "number_by_role":
            number = entered_number(setting, entered) if entered else None
            return _with(now, chosen_id(values, "role"), number, values)
        case "names_by_role":
            named = tuple(dict.fromkeys(listed(setting, values)))
            return _with(now, chosen_id(values, "role"), named or None, values)
        case "lines":
            return checked(setting, _joined(now, listed(setting, values), values))
        case "number":
            return entered_number(setting, entered) if entered else None
    return entered or None


def listed(setting: Setting, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The entries of a list that were entered or chosen. Raises Refused."""
    if setting.kind in IDS:
        return tuple(_ids(values, "value"))
    return tuple(line.strip() for line in entered_text(values).splitlines() if line.strip())


def checked(setting: Setting, entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list that may be kept. Raises Refused."""
    if setting.kind == "people" and len(entries) > PEOPLE_MAX:
        raise Refused("list_too_many", count=len(entries), high=PEOPLE_MAX)
    if setting.kind == "lines":
        if len(entries) > PHRASES_MAX:
            raise Refused("blocklist_too_many", count=len(entries), high=PHRASES_MAX)
        blocklist.compiled(entries)
    return entries


def entered_text(values: Mapping[str, Any]) -> str:
    """The text that was entered; empty where there is none."""
    entered = values.get("value")
    return entered.strip() if isinstance(entered, str) else ""


def _chosen(values: Mapping[str, Any], name: str) -> list[str]:
    chosen = values.get(name)
    return [str(value) for value in chosen] if isinstance(chosen, list) else []


def _ids(values: Mapping[str, Any], name: str) -> list[int]:
    """Discord's ids of what was chosen."""
    chosen = _chosen(values, name)
    if not all(re.fullmatch(r"[0-9]{1,19}", value) and int(value) < 2**63 for value in chosen):
        raise Refused("nothing_chosen")
    return [int(value) for value in chosen]


def chosen_id(values: Mapping[str, Any], name: str) -> int:
    """Discord's id of what was chosen. Raises Refused where nothing was."""
    ids = _ids(values, name)
    if not ids:
        raise Refused("nothing_chosen")
    return ids[0]


def mark(listed: Sequence[Any]) -> str:
    """What tells one list from another, in a dialog's id."""
    return f"{zlib.crc32(repr(list(listed)).encode()):08x}"


def _joined(
    now: tuple[Entry, ...], entered: tuple[Entry, ...], values: Mapping[str, Any]
) -> tuple[Entry, ...]:
    """The list that was entered; with what is there where another changed it since it was shown."""
    if values.get(SEEN) in (None, mark(now)):
        return entered
    return now + tuple(item for item in entered if item not in now)


def _with(now: Mapping[int, Any], key: int, new: Any, values: Mapping[str, Any]) -> dict[int, Any]:
    """The table with a new value. Raises SettingChanged where another has changed it since it was
    shown, and may have given the same key a value.
    """
    there = now.get(key, new)
    seen = mark(list(now.items()))
    if values.get(SEEN) not in (None, seen) and _same(there) != _same(new):
        raise SettingChanged(seen)
    kept = {k: v for k, v in now.items() if k != key}
    return kept if new is None else kept | {key: new}


def check_waiting(setting: Setting, caller: Caller, new: Any, most: int) -> None:
    """Refuse to let more wait than the bot's owner allows. What was set before that was lowered
    stays, and counts for no more than it. Raises Refused.
    """
    by_role = isinstance(new, dict)
    now = current(setting, caller)
    before = now.values() if by_role else (now,)
    for number in new.values() if by_role else [new]:
        if number is not None and number > most and number not in before:
            raise Refused("out_of_bounds", option=setting.name, value=number, low=1, high=most)


def entered_number(setting: Setting, text: str) -> int | float:
    """A number within the bounds of the setting. Raises Refused."""
    option = bounds_of(SCOPES[setting.scope], setting.name)
    number = option.parse(text.strip())
    option.check(number)
    if isinstance(number, str):
        raise Refused("not_a_number", option=setting.name, value=text[:50])
    return number


def _escaped(text: str) -> str:
    return quoted(text, PRESET_MAX)
