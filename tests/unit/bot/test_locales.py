"""Every sentence that the code names is there, every sentence that is there is named."""

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import structlog

from bot import locales
from bot.features.actions import extend_modal, redraw_fields
from bot.features.approvals import VERDICTS
from bot.features.moderation import COMMANDS as MODERATION
from bot.features.presets.command import COMMANDS
from bot.features.presets.fields import PARTS
from bot.features.settings import panel
from bot.features.settings.panel import SETTINGS
from bot.locales import Texts
from bot.pictures.attachments import Withheld
from bot.requests.actions import ACTIONS
from bot.ui.modal import TITLE_MAX
from generation.info.resolving import KINDS
from generation.messages import Progress
from generation.models import ModelKind
from generation.preprocessors import Annotator
from generation.replay import Change
from generation.request_fields import ControlMode
from generation.request_options import options

PROJECT = Path(__file__).resolve().parents[3]
SOURCES = [
    file for folder in ("bot", "generation", "storage") for file in (PROJECT / folder).rglob("*.py")
]
BUTTON_MAX = 80
"""Discord's bound on a button's label."""
CARRIERS = {
    **dict.fromkeys(("Refused", "JobError", "HeaderError", "Failure"), 0),
    **dict.fromkeys(("Failed", "Unusable", "_unusable"), 1),
}
"""What carries a sentence's key, and as which of its arguments."""
BUILT = {
    *(f"stage_{stage}" for stage in Progress.__annotations__["stage"].__args__),
    *(
        f"action_{name}"
        for name in (
            "imagine",
            "blend",
            "control",
            "edit",
            "edit_words",
            "start",
            "extend",
            "redraw",
            "retry",
            "replay",
        )
    ),
    *(f"action_{action.name}" for action in ACTIONS.values() if action.request),
    *(panel.title(setting) for setting in SETTINGS.values()),
    *(panel.choice_key(s, choice) for s in SETTINGS.values() for choice in s.choices),
    *(f"preset_field_{f}" for part in PARTS.values() for f in (*part, "aspect")),
    *(f"preset_part_{part}" for part in PARTS),
    *(f"command_preset_{name}" for name in COMMANDS),
    *(f"command_moderate_{name}{end}" for name in MODERATION for end in ("", "_help")),
    *(f"approval_{verdict}" for verdict in VERDICTS),
    *(f"button_{verdict}" for verdict in VERDICTS),
    *(f"picture_{why}" for why in get_args(Withheld)),
    *(f"mode_{mode}" for mode in ("draft", "hd")),
    *(f"button_grid_{do}" for do in ("draw", "leave", "cancel", "delete")),
    *(f"dialog_axis_{name}" for name in ("x", "y", "z")),
    *(f"settings_{do}" for do in ("back", "next", "add", "edit", "file", "load", "all")),
    *(f"settings_{setting.scope}" for setting in SETTINGS.values()),
    *(f"change_{what}" for what in Change.__annotations__["what"].__args__),
    *(f"{kind}s_title" for kind in ("checkpoint", "lora")),
    *(
        f"redraw_{choice.replace(' ', '_')}"
        for name in (redraw_fields.CONTENT, redraw_fields.AREA)
        for choice in options()[name].choices
    ),
    *(f"redraw_mask_{about}" for about in ("about", "kept")),
    *(f"extend_{name}" for name in (*extend_modal.SIDES, *extend_modal.SHARES)),
    *(f"dialog_{name}" for name in ("edit", "start", "retry")),
    *(f"option_{name}_help" for name in options()),
    *(
        f"masked_content_{choice.replace(' ', '_')}"
        for choice in options()["masked_content"].choices
        if choice != "original"
    ),
    *(f"info_kind_{kind}" for kind in KINDS),
    *(f"field_{option}" for option in ("model", "vae", "refiner")),
    *(f"control_mode_{mode}" for mode in get_args(ControlMode)),
    "action_add_control",
    "action_imagine_this",
    *(f"{what}_{use}" for what in ("menu", "dialog") for use in ("style", "subject")),
    *(f"annotator_missing_{sees}" for sees in get_args(Annotator)),
    *(f"{kind}_unknown" for kind in (*ModelKind, "sampler", "aspect")),
}
"""Keys that the code puts together."""


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield file, node


def carried() -> set[str]:
    """The keys that refusals and failures are made with."""
    found = set()
    for _, call in calls():
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        place = CARRIERS.get(name)
        if place is not None and len(call.args) > place:
            argument = call.args[place]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value)
    return found


def commands() -> set[str]:
    """The keys of the commands' names and descriptions."""
    names = {
        str(call.args[0].value)
        for _, call in calls()
        if getattr(call.func, "id", "") == "slash_command"
        and isinstance(call.args[0], ast.Constant)
    }
    return {f"command_{name}{ending}" for name in names for ending in ("", "_help")}


def constants() -> set[str]:
    return {
        node.value
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_refusal_and_failure_has_its_sentence() -> None:
    found = carried()
    assert len(found) > 20, "the search finds nothing"
    assert found - set(locales.sentences("en-US")) == set()


def test_every_action_setting_and_choice_has_its_sentence() -> None:
    english = {f"option_{name}_help" for name in options()}  # declared with the options
    assert BUILT - english - set(locales.sentences("en-US")) == set()


def test_every_sentence_is_used() -> None:
    used = constants() | commands() | BUILT | {f"permission_{name}" for name in constants()}
    assert set(locales.sentences("en-US")) - used == set()


@pytest.mark.parametrize("locale", locales.LOCALES)
def test_all_languages_have_the_same_sentences_and_places(locale: str) -> None:
    english, other = locales.sentences("en-US"), locales.sentences(locale)
    assert set(english) - set(other) == set()

    def places(sentence: object) -> set[str]:
        return set(re.findall(r"{(\w+)", str(sentence)))

    for key in english.keys() & other.keys():
        assert places(english[key]) == places(other[key]), key


def test_counts_have_a_singular() -> None:
    texts = Texts("en-US")
    assert texts("queue_position", count=1) == "In the queue: one request before this one."
    assert texts("queue_position", count=3) == "In the queue: 3 requests before this one."


def test_options_and_settings_are_named_as_people_see_them() -> None:
    chinese, english = Texts("zh-CN"), Texts("en-US")
    needed = {"option": "denoising", "needs": "init_picture"}
    assert chinese("option_needs", **needed) == "重绘幅度 要和 起始图片 一起使用。"
    assert english("option_needs", **needed).startswith("denoising only makes sense")
    bounds = {"option": "quota", "value": 0, "low": 1, "high": 9}
    assert chinese("out_of_bounds", **bounds) == "每人每天的图片数 是 0，应在 1 到 9 之间。"
    assert english("out_of_bounds", **bounds).startswith("Pictures a day for each person is 0")


@pytest.mark.parametrize("locale", locales.LOCALES)
def test_labels_and_titles_fit(locale: str) -> None:
    found = locales.sentences(locale)
    titles = {panel.title(setting) for setting in SETTINGS.values()}
    for key, sentence in found.items():
        if key.startswith("button_"):
            assert 1 <= len(str(sentence)) <= BUTTON_MAX, key
        if key.startswith("dialog_") or key in titles:
            assert 1 <= len(str(sentence)) <= TITLE_MAX, key


def test_an_unknown_locale_speaks_english() -> None:
    assert Texts("xx").locale == "en-US"


@pytest.mark.parametrize("locale", locales.LOCALES)
def test_a_sentence_counts_as_its_language_does(locale: str) -> None:
    categories = locales.plural_categories(locale)
    for key, sentence in locales.sentences(locale).items():
        if isinstance(sentence, dict):
            assert "other" in sentence, key
            assert sentence.keys() <= categories, key


def test_every_languages_rules_for_counts_are_known() -> None:
    polish = [locales.plural_category("pl", count) for count in (1, 2, 5, 22, 25, 1.5)]
    assert polish == ["one", "few", "many", "few", "many", "other"]
    assert [locales.plural_category("ar", count) for count in (0, 1, 2)] == ["zero", "one", "two"]
    assert locales.plural_category("zh-CN", 1) == "other"
    assert locales.plural_category("no language", 1) == "one"
    for odd in (None, "3", math.inf, math.nan, 10**5000):
        assert locales.plural_category("en-US", odd) == "other"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**53 - 1, "9,007,199,254,740,991"),
        (1024, "1024"),
        (7.0, "7"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.5, "-0.5"),
        (12345.5, "12,345.5"),
        (1e300, "1.00e+300"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
        (1e-7, "0.0000001"),
        (10**400, "1.00e+400"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, shown: str) -> None:
    assert Texts("en-US").number(value) == shown
    sentence = Texts("en-US")("out_of_bounds", option="steps", value=value, low=1, high=2**53 - 1)
    assert f"is {shown};" in sentence
    assert sentence.endswith("from 1 to 9,007,199,254,740,991.")


def test_numbers_that_python_does_not_write_are_no_error() -> None:
    assert Texts("en-US").number(10**5000) == "1.00e+5000"
    assert (
        Texts("en-US")("history_entry", job=10**5000, model="m", seed=1, when="")
        == "#… · m · seed 1 · "
    )


def test_numbers_have_their_languages_marks() -> None:
    assert locales.written(12345.5, "de") == "12.345,5"
    assert locales.written(12345, "fr") == "12\u202f345"


def test_numbers_to_copy_have_no_marks() -> None:
    shown = Texts("en-US")("history_entry", job=12345, model="m", seed=4_000_000_000, when="now")
    assert shown == "#12345 · m · seed 4000000000 · now"


@pytest.mark.parametrize("locale", locales.LOCALES)
@pytest.mark.parametrize("params", [{}, {"count": None}, {"count": "x", "low": object()}])
def test_a_sentence_can_always_be_said(locale: str, params: dict[str, object]) -> None:
    texts = Texts(locale)
    for key in locales.sentences(locale):
        assert texts(key, **params)


def test_what_a_sentence_lacks_is_marked_and_logged_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Texts("en-US")("sampler_unknown", name="Eulr")
    assert said == "There is no sampler “Eulr”. Nearest: …."
    assert Texts("en-US")("no such sentence") == "no such sentence"
    with structlog.testing.capture_logs() as logs:
        Texts("en-US")("sampler_unknown", name="Eulr")
        Texts("en-US")("no such sentence")
    assert [(line["log_level"], line["key"]) for line in logs] == [
        ("error", "sampler_unknown"),
        ("error", "no such sentence"),
    ]


def test_parameters_are_text_and_no_sentences() -> None:
    shown = Texts("en-US")("sampler_unknown", name="{nearest} {0} {", nearest="Euler")
    assert shown == "There is no sampler “{nearest} {0} {”. Nearest: Euler."
