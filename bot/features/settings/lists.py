"""Settings that are long lists, shown and changed a page at a time."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord

from bot.access.caller import Caller
from bot.features.settings import panel
from bot.features.settings.panel import LISTS, SETTINGS, TABLES, Setting
from bot.ui.modal import VALUE_MAX, Modal
from bot.ui.persistent_items import StatelessLayout
from generation.refusal import Refused

PAGE_MAX: Final = 25
"""Entries of a page: Discord's bound on the options of a menu."""
LINE_MAX: Final = 120
"""Characters that are shown of an entry; a page has 4000."""
LABEL_MAX: Final = 100
REPLACED: Final = LISTS - TABLES
"""Lists whose pages are edited as a whole; of the others one entry at a time is set."""
END: Final = 9999
"""Where new entries go: behind all that are there."""


def is_long(setting: Setting, caller: Caller) -> bool:
    """Whether one modal, or one line of the panel, does not hold the list."""
    if setting.kind not in LISTS:
        return False
    cut = panel.value(setting, caller) != panel.value(setting, caller, whole=True)
    return cut if setting.kind not in REPLACED else len(pages(setting, caller)) > 1


def pages(setting: Setting, caller: Caller) -> list[tuple[int, int]]:
    """Where each page begins and ends: what a modal holds too."""
    found = [(0, 0)]
    size = 0
    for place, entry in enumerate(entries(setting, caller)):
        begin, end = found[-1]
        size += len(entry) + 1
        if end > begin and (end - begin == PAGE_MAX or size > VALUE_MAX):
            found.append((place, place + 1))
            size = len(entry) + 1
        else:
            found[-1] = (begin, place + 1)
    return found


def entries(setting: Setting, caller: Caller) -> list[str]:
    """What the list has, each as one would enter or choose it."""
    return [str(entry) for entry in panel.current(setting, caller)]


def shown(
    setting: Setting, caller: Caller, page: int, names: Mapping[int, str]
) -> discord.ui.LayoutView:
    """A page of the list, with what can be done. `names` are those of channels and roles."""
    texts = caller.texts
    every = pages(setting, caller)
    page = max(0, min(page, len(every) - 1))
    begin, end = every[page]
    written = panel.written_entries(setting, caller)[begin:end]
    lines = [_cut(f"{begin + i}. {line}", LINE_MAX) for i, line in enumerate(written, 1)]
    head = f"### {texts(panel.title(setting))}"
    count = texts(
        "settings_page", number=page + 1, pages=len(every), entries=len_of(setting, caller)
    )
    text = "\n".join([head, f"-# {count}", *(lines or [texts("setting_none")])])
    view = StatelessLayout()
    parts: list[Any] = [discord.ui.TextDisplay(text)]
    here = f"{setting.scope}:{setting.name}:{page}"
    listed = panel.current(setting, caller)
    if lines:
        keys = entries(setting, caller)[begin:end]
        labels = [
            names.get(int(key), line) if key.isdigit() and setting.kind != "lines" else line
            for key, line in zip(keys, written, strict=True)
        ]
        remove: discord.ui.Select[Any] = discord.ui.Select(
            custom_id=f"darkroom:settings_remove:{here}:{panel.mark(list(listed)[begin:end])}",
            placeholder=texts("settings_remove"),
            max_values=len(lines),
            options=[
                discord.SelectOption(label=_cut(label, LABEL_MAX) or "-", value=str(begin + place))
                for place, label in enumerate(labels)
            ],
        )
        parts.append(discord.ui.ActionRow(remove))
    row: discord.ui.ActionRow[Any] = discord.ui.ActionRow()
    for do, on in (
        ("back", page > 0),
        ("next", page + 1 < len(every)),
        ("add", True),
        ("edit", setting.kind in REPLACED and bool(lines)),
        ("file", True),
    ):
        button: discord.ui.Button[Any] = discord.ui.Button(
            style=discord.ButtonStyle.secondary,
            label=texts(f"settings_{do}"),
            custom_id=f"darkroom:settings_{do}:{here}",
            disabled=not on,
        )
        row.add_item(button)
    parts.append(row)
    view.add_item(discord.ui.Container(*parts))
    below: discord.ui.ActionRow[Any] = discord.ui.ActionRow()
    for do in ("load", "all"):
        below.add_item(
            discord.ui.Button(
                style=discord.ButtonStyle.secondary,
                label=texts(f"settings_{do}"),
                custom_id=f"darkroom:settings_{do}:{here}",
            )
        )
    view.add_item(below)
    return view


def len_of(setting: Setting, caller: Caller) -> int:
    """How many entries the list has."""
    return len(panel.current(setting, caller))


def modal(setting: Setting, caller: Caller, page: int | None) -> Modal:
    """Where a page is edited, or without a page something is added."""
    if setting.kind not in REPLACED:
        return panel.modal_of(setting, caller)
    texts = caller.texts
    listed = list(panel.current(setting, caller))
    begin = end = END
    if page is not None:
        every = pages(setting, caller)
        begin, end = every[max(0, min(page, len(every) - 1))]
    here = listed[begin:end]
    where = f"{setting.scope}:{setting.name}:{begin}:{end}:{panel.mark(here)}"
    asked = Modal(f"darkroom:setting_page:{where}", texts(panel.title(setting)))
    if setting.kind == "channels":
        return asked.channels("value", texts(panel.title(setting)), here, several=True)
    if setting.kind == "people":
        return asked.people("value", texts(panel.title(setting)), here)
    return asked.text("value", texts("dialog_blocklist"), value="\n".join(here), long=True)


def replaced(
    setting: Setting, caller: Caller, where: Sequence[str], values: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The whole list with a page of it as it was handed in. Raises Refused.

    Where another has changed the page since it was shown, both lose nothing: what is new is added.
    """
    if len(where) != 3 or not all(re.fullmatch(r"[0-9]{1,4}", place) for place in where[:2]):
        raise Refused("setting_gone")
    begin, end = int(where[0]), int(where[1])
    now = list(panel.current(setting, caller))
    entered = panel.listed(setting, values)
    if panel.mark(now[begin:end]) == where[2]:
        new = [*now[:begin], *entered, *now[end:]]
    else:
        new = [*now, *entered]
    return panel.checked(setting, tuple(dict.fromkeys(new)))


def without(setting: Setting, caller: Caller, keys: Sequence[Any]) -> Any:
    """The list without these entries."""
    now = panel.current(setting, caller)
    if isinstance(now, dict):
        return {key: value for key, value in now.items() if key not in keys}
    return tuple(entry for entry in now if entry not in keys)


def chosen(
    setting: Setting, caller: Caller, page: int, seen: str, values: Sequence[str]
) -> list[Any]:
    """The entries that were chosen on a page, by their places. Raises Refused where another has
    changed them since.
    """
    listed = list(panel.current(setting, caller))
    every = pages(setting, caller)
    begin, end = every[max(0, min(page, len(every) - 1))]
    places = [int(value) for value in values if re.fullmatch(r"[0-9]{1,4}", value)]
    if panel.mark(listed[begin:end]) != seen or not all(begin <= p < end for p in places):
        raise Refused("settings_changed")
    return [listed[place] for place in places]


def setting_of(scope: str, name: str) -> Setting:
    """The list of that name. Raises Refused."""
    setting = SETTINGS.get(f"{scope}.{name}")
    if setting is None or setting.kind not in LISTS:
        raise Refused("setting_gone")
    return setting


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
