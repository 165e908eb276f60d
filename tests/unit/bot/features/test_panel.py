"""What is entered in the panel's dialogs becomes a value or is refused in words."""

import contextlib
import random
from typing import Any

import pytest

from bot.access.caller import Caller, Person, Place
from bot.features.settings.panel import SETTINGS, changed
from generation.refusal import Refused
from generation.request_options import bounds_of
from storage.settings import GuildSettings, PersonSettings
from tests.fixtures import fuzz

CALLER = Caller(Person(1, "ada", manager=True), Place(10, 100), GuildSettings(), PersonSettings())


def entered(name: str, **values: Any) -> Any:
    return changed(SETTINGS[f"guild.{name}"], CALLER, values)


def test_values_are_what_was_entered() -> None:
    assert entered("quota", value=" 20 ") == 20
    assert entered("quota", value="") is None
    assert entered("weight_by_role", role=["7"], value="1.5") == {7: 1.5}
    assert entered("channels", value=["5", "6"]) == (5, 6)
    assert entered("audit_channel", value=[]) is None
    assert entered("channel_presets", channel=["5"], value="night") == {5: "night"}
    assert entered("press", value=["owner"]) == "owner"
    assert entered("language", value=["-"]) is None


@pytest.mark.parametrize("name", ["quota", "waiting", "quota_by_role", "weight_by_role"])
def test_bounds_are_those_of_what_is_kept(name: str) -> None:
    bounds = bounds_of(GuildSettings, name)
    assert bounds.low is not None
    assert bounds.high is not None
    for value in (bounds.low - 1, bounds.high + 1):
        with pytest.raises(Refused) as refused:
            entered(name, role=["7"], value=f"{value:g}")
        assert refused.value.params["high"] == bounds.high


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("quota", {"value": "many"}, "not_a_number"),
        ("quota", {"value": "1.5"}, "not_a_whole_number"),
        ("quota", {"value": "1" * 4301}, "number_too_long"),
        ("quota_by_role", {"value": "3"}, "nothing_chosen"),
        ("quota_by_role", {"role": [], "value": "3"}, "nothing_chosen"),
        ("quota_by_role", {"role": ["x"], "value": "3"}, "nothing_chosen"),
        ("quota_by_role", {"role": ["1" * 4301], "value": "3"}, "nothing_chosen"),
        ("quota_by_role", {"role": [str(2**63)], "value": "3"}, "nothing_chosen"),
        ("channel_presets", {"value": "night"}, "nothing_chosen"),
        ("press", {"value": ["nobody"]}, "nothing_chosen"),
        ("press", {"value": []}, "nothing_chosen"),
        ("language", {"value": ["xx"]}, "nothing_chosen"),
        ("channels", {"value": ["general"]}, "nothing_chosen"),
        ("audit_channel", {"value": ["²"]}, "nothing_chosen"),
        ("weight_by_role", {"role": ["7"], "value": "nan"}, "out_of_bounds"),
    ],
)
def test_what_is_missing_empty_or_no_number_is_said(
    name: str, values: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        entered(name, **values)
    assert refused.value.code == code


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_handed_in_is_a_value_or_refused(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["1", "7", "/", "word", "\n"], 5):
        anything: list[Any] = [text, [text], [], None, {}, [None], 3]
        for setting in SETTINGS.values():
            values = {name: chance.choice(anything) for name in ("value", "role", "channel")}
            with contextlib.suppress(Refused):
                changed(setting, CALLER, values)
