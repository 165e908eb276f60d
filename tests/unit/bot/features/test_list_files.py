"""Whatever a file of a list has in it, it becomes that list or is refused by its line."""

import random

import pytest

from bot.access.caller import Caller, Person, Place
from bot.features.settings import list_files, panel
from bot.features.settings.list_files import EXAMPLES, Here
from bot.features.settings.panel import SETTINGS
from generation.preset import Preset
from generation.refusal import Refused
from storage.settings import GuildSettings, PersonSettings
from tests.fixtures import fuzz
from tests.unit.generation.catalogs import a_catalog, a_model

CALLER = Caller(Person(1, "ada", manager=True), Place(10, 100), GuildSettings(), PersonSettings())
LISTS = [setting for setting in SETTINGS.values() if setting.kind in panel.LISTS]
HERE = Here(
    roles=frozenset((1, 1234567890)),
    channels=frozenset((2, 1234567890)),
    presets=(Preset(name="demo"),),
    waiting=10,
    catalog=a_catalog(a_model("demo")),
)
PIECES = ("1: 5", "2: demo", "2", "<@&1>: 0.5", "fog", "/a+/", "/(a/", "\n", "\r\n", "\r", "\x85")


@pytest.mark.parametrize("setting", LISTS, ids=lambda setting: setting.name)
def test_what_is_said_to_be_an_entry_is_one(setting: panel.Setting) -> None:
    assert list_files.read(setting, CALLER, EXAMPLES[setting.kind].encode(), "a.txt", HERE)


@pytest.mark.parametrize("count", fuzz.CASES)
def test_hostile_files_are_read_or_refused(count: int) -> None:
    chance, read = random.Random(count), 0
    for text in fuzz.texts(count, PIECES, 12):
        data = text.encode(errors="surrogatepass" if chance.random() < 0.5 else "replace")
        setting = chance.choice(LISTS)
        refused = None
        try:
            found = list_files.read(setting, CALLER, data, "a.txt", HERE)
        except Refused as error:
            refused = error
        if refused is None:
            list_files.joined(setting, CALLER, found, "")
            read += 1
        elif refused.code != "list_file_empty":
            assert refused.code == "list_file_line"
            lines = len(list_files.LINE_BREAK.findall(text)) + 1
            assert 1 <= int(refused.params["line"]) <= lines
    assert read


def test_lines_that_repeat_each_other_count_too() -> None:
    blocklist = SETTINGS["guild.blocklist"]
    most = list_files.LINES_MAX
    assert list_files.read(blocklist, CALLER, b"fog\n" * most, "a.txt", HERE) == ("fog",)
    with pytest.raises(Refused, match="list_file_line") as refused:
        list_files.read(blocklist, CALLER, b"fog\n" * (most + 1), "a.txt", HERE)
    assert refused.value.params["line"] == most + 1
    assert "500" in str(refused.value.params["problem"])
