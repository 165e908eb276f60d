"""Lists of settings as files, one entry a line: handed in they replace the list, however long."""

import asyncio
import codecs
import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import discord
import msgspec

from bot.access import blocklist
from bot.access.caller import Caller
from bot.features.settings import panel, reserved
from bot.features.settings.panel import Setting
from bot.interactions.responding import Interaction
from bot.interactions.uploaded_files import uploaded_files
from bot.pictures.uploads import FETCHING_ERRORS
from bot.ui.formatting import sentence
from bot.ui.modal import Modal
from generation.catalog import Catalog
from generation.preset import Preset
from generation.refusal import Refused
from generation.request_fields import check_text
from storage.presets import find_preset
from storage.settings import PHRASES_MAX

FIELD: Final = "file"
"""Of a modal: what was uploaded."""
FILE_MAX: Final = 2**20
"""Bytes; the longest list has half of that."""
FETCH_SECONDS: Final = 30.0
ID_MAX: Final = 2**63
LINES_MAX: Final = 10 * PHRASES_MAX
"""Those that say the same as another count too: each costs time."""
LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
ID: Final = re.compile(r"(?:<(?:#|@&|@!?))?([0-9]{1,19})>?")
COLON: Final = re.compile("[:：]")
EXAMPLES: Final[Mapping[str, str]] = {
    "channels": "1234567890",
    "channel_preset": "1234567890: demo",
    "number_by_role": "1234567890: 5",
    "names_by_role": "1234567890: demo",
    "people": "1234567890",
    "lines": "fog",
}
"""A line of each kind of list; Discord's ids are such numbers, with more digits."""


class Here(msgspec.Struct, frozen=True):
    """What a file may name on a server: its roles, channels and presets; None where Discord has
    not told of them. `waiting` is how many jobs of one person may wait at most.
    """

    roles: frozenset[int] | None
    channels: frozenset[int] | None
    presets: tuple[Preset, ...]
    waiting: int
    catalog: Catalog


def add_field(modal: Modal, setting: Setting, caller: Caller, *, required: bool = False) -> Modal:
    """The modal with a field for the file of a list."""
    about = caller.texts("list_file_about", example=EXAMPLES[setting.kind])
    return modal.file(FIELD, caller.texts("dialog_list_file"), about, required=required)


def modal(setting: Setting, caller: Caller) -> Modal:
    """Where nothing but the file is asked for."""
    now = panel.mark(panel.items(setting, caller))
    asked = Modal(
        f"darkroom:setting_file:{setting.scope}:{setting.name}:{now}",
        caller.texts(panel.title(setting)),
    )
    return add_field(asked, setting, caller, required=True)


def uploaded(interaction: Interaction, values: Mapping[str, Any]) -> discord.Attachment | None:
    """The file of a handed-in modal; None where there is none."""
    return next(iter(uploaded_files(interaction, values, FIELD)), None)


def check_alone(
    setting: Setting, caller: Caller, values: Mapping[str, Any], seen: str | None
) -> None:
    """Refuse a file beside what was entered in the same dialog: it would replace that. `seen` is
    the mark of the list that the dialog showed.
    """
    if setting.kind in panel.TABLES:
        entered = any(values.get(name) for name in ("channel", "role", "value"))
    else:
        listed = panel.listed(setting, values)
        now = panel.current(setting, caller)
        shown = set(listed) == set(now) or panel.mark(listed) == seen
        entered = bool(listed) and not shown
    if entered:
        raise Refused("list_file_beside")


async def fetch(file: discord.Attachment) -> bytes:
    """What was uploaded. Raises Refused for what is too large, or gone."""
    if file.size > FILE_MAX:
        raise Refused("list_file_too_large", file=file.filename, high=FILE_MAX // 1024)
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await file.read()
    except FETCHING_ERRORS:
        raise Refused("list_file_gone", file=file.filename) from None


def read(
    setting: Setting, caller: Caller, data: bytes, file: str, here: Here
) -> tuple[Any, ...] | dict[int, Any]:
    """The list that a file has. Blocks. Raises Refused, naming the file's line."""
    found: dict[Any, Any] = {}
    places: dict[Any, int] = {}
    for number, text in _lines(data, caller, file):
        with _named(caller, file, number):
            key, value = _entry(setting, caller, text, here)
            if found.setdefault(key, value) != value:
                raise Refused("list_file_twice", entry=text[:80])
            if len(found) > PHRASES_MAX:
                raise Refused("list_file_too_many", high=PHRASES_MAX)
        places.setdefault(key, number)
    if not found:
        raise Refused("list_file_empty", file=file)
    if setting.kind == "lines":
        try:
            blocklist.compiled(tuple(found))
        except Refused as refused:
            with _named(caller, file, places[_culprit(tuple(found), refused)]):
                raise
    if setting.kind == "names_by_role":
        by_role: dict[int, tuple[str, ...]] = {}
        for role, name in found:
            by_role[role] = (*by_role.get(role, ()), name)
        return by_role
    return found if setting.kind in panel.TABLES else tuple(found)


def joined(
    setting: Setting, caller: Caller, entries: tuple[Any, ...] | dict[int, Any], seen: str
) -> Any:
    """The list that is to hold: that of the file; with what is there where another changed it
    since the dialog was opened. Raises Refused.
    """
    now = panel.current(setting, caller)
    if seen != panel.mark(panel.items(setting, caller)):
        if isinstance(entries, dict):
            entries = {**now, **entries}
        else:
            entries = (*now, *(entry for entry in entries if entry not in now))
    if len(entries) > PHRASES_MAX:
        raise Refused("list_too_many", count=len(entries), high=PHRASES_MAX)
    return panel.checked(setting, entries) if isinstance(entries, tuple) else entries


def _lines(data: bytes, caller: Caller, file: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, by number."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("latin-1")
        with _named(caller, file, len(LINE_BREAK.findall(before)) + 1):
            raise Refused("list_file_utf8") from None
    for number, line in enumerate(LINE_BREAK.split(text, LINES_MAX), 1):
        if not line.strip():
            continue
        if number > LINES_MAX:
            with _named(caller, file, number):
                raise Refused("list_file_too_many", high=PHRASES_MAX)
        yield number, line.strip()


@contextlib.contextmanager
def _named(caller: Caller, file: str, line: int) -> Iterator[None]:
    """Say of a refusal which line it is about."""
    try:
        yield
    except Refused as refused:
        problem = sentence(caller.texts, refused.code, refused.params)
        raise Refused("list_file_line", file=file, line=line, problem=problem) from None


def _entry(setting: Setting, caller: Caller, text: str, here: Here) -> tuple[Any, Any]:
    """Key and value of a line; of a list without values the key alone, and of one with several to
    a key both are the key.
    """
    check_text(setting.name, text)
    if setting.kind == "lines":
        if len(text) > blocklist.ENTRY_MAX:
            raise Refused("blocklist_too_long", entry=text[:80], high=blocklist.ENTRY_MAX)
        return text, None
    key, *rest = COLON.split(text, maxsplit=1) if setting.kind in panel.TABLES else (text,)
    found, value = ID.fullmatch(key.strip()), "".join(rest).strip()
    if found is None or int(found[1]) >= ID_MAX or (setting.kind in panel.TABLES and not value):
        raise Refused("list_file_entry", entry=text[:80], example=EXAMPLES[setting.kind])
    id_ = int(found[1])
    if setting.kind == "people":
        # somebody who has left the server is blocked for when they come back
        return id_, None
    by_role = setting.kind in panel.BY_ROLE
    now: Collection[int] = panel.current(setting, caller)
    there = here.roles if by_role else here.channels
    if there is not None and id_ not in there and id_ not in now:
        # what is gone and was there already does no harm
        raise Refused("list_file_no_role" if by_role else "list_file_no_channel", entry=str(id_))
    if setting.kind == "channels":
        return id_, None
    if setting.kind == "channel_preset":
        return id_, find_preset(here.presets, value).name
    if setting.kind == "names_by_role":
        return (id_, reserved.known(value, here.catalog)), None
    number = panel.entered_number(setting, value)
    if setting.name == "waiting_by_role":
        panel.check_waiting(setting, caller, {id_: number}, here.waiting)
    return id_, number


def _culprit(entries: tuple[str, ...], refused: Refused) -> str:
    """The entry that a refusal of all is about."""
    for entry in entries:
        if entry[:80] == refused.params.get("entry"):
            try:
                blocklist.compiled((entry,))
            except Refused:
                return entry
    return next(e for e in entries if e[:80] == refused.params.get("entry", e[:80]))
