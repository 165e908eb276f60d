"""Prompts of which a part is drawn."""

import contextlib
from pathlib import Path

import pytest

from generation.prompts.wildcards import draw, is_template
from generation.refusal import Refused
from tests.fixtures import fuzz


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "animal": "# all of them\ncat\n\n dog \n{big|small} fox #1\n",
        "colour": "red\n",
        "looks/colour": "blue\n",
        "looks/hair cut": "__animal__ like\n",
        "loop": "a __loop__\n",
        "empty": "\n# nothing\n",
        "broken": "{a|b\n",
    }.items():
        file = tmp_path / f"{name}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def drawn(text: str, folder: Path | None = None) -> set[str]:
    return {draw("prompt", text, seed, folder) for seed in range(60)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a {b|c} d", {"a b d", "a c d"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{|a}b", {"b", "ab"}),
        ("{2$$a|b}", {"a,b", "b,a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{0::a|1::b}", {"b"}),
        # where another than a random choice would be asked for, it is random too
        ("{!a|b}", {"a", "b"}),
        # what means something to dynamicprompts alone is text
        ("50% #1 $5 x__y //z {a}", {"50% #1 $5 x__y //z a"}),
        ("%{a|b}", {"%a", "%b"}),
        ("(a:1.2)  [x|y]\n{a}}", {"(a:1.2)  [x|y]\na}"}),
        (r"\{a|b\} {c}", {r"\{a|b\} c"}),
        (r"\\{a|b}", {r"\\a", r"\\b"}),
    ],
)
def test_braces(text: str, found: set[str]) -> None:
    assert drawn(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a __animal__!", {"a cat!", "a dog!", "a big fox #1!", "a small fox #1!"}),
        ("{__colour__|a}", {"red", "a"}),
        ("__looks/colour__", {"blue"}),
        ("__hair cut__", {"cat like", "dog like", "big fox #1 like", "small fox #1 like"}),
        ("__*colour__", {"red", "blue"}),
    ],
)
def test_wildcards(folder: Path, text: str, found: set[str]) -> None:
    assert drawn(text, folder) == found


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "a } | b", r"\{a|b\}", r"\__animal__", "snake__case and x__y", "____", "__ a __"],
)
def test_what_is_no_template_stays(folder: Path, text: str) -> None:
    assert not is_template(text)
    assert drawn(text, folder) == {text}


def test_the_seed_draws() -> None:
    text = "{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}"
    assert draw("prompt", text, 7, None) == draw("prompt", text, 7, None)
    assert len(drawn(text)) > 20


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{a|", "braces_unreadable"),
        ("{a|{b}", "braces_unreadable"),
        ("{0::a|0::b}", "braces_unreadable"),
        ("{" + "9" * 5000 + "$$a|b}", "braces_unreadable"),
        ("{a} \U000f0023", "braces_unreadable"),
        ("__broken__", "braces_unreadable"),
        ("{a}" * 101, "braces_too_many"),
        ("{" + "a|" * 501 + "}", "braces_too_many"),
        ("__animl__", "wildcard_unknown"),
        ("{a|__animl__}", "wildcard_unknown"),
        ("__../animal__", "wildcard_unknown"),
        ("__empty__", "wildcard_empty"),
        ("__loop__", "wildcard_endless"),
        ("__colour__ " * 301, "wildcard_endless"),
    ],
)
def test_what_cannot_be_drawn_is_refused(folder: Path, text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        draw("prompt", text, 1, folder)
    assert refused.value.code == code


def test_without_lists_that_is_said(tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "nothing"):
        with pytest.raises(Refused, match="wildcards_none"):
            draw("prompt", "__animal__", 1, folder)


PIECES = ["{", "}", "|", "$$", "__animal__", "__", "2", "::", "0.5", "#", "//", "!", "{a|b}", "\\"]


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_written_is_drawn_or_refused(folder: Path, count: int) -> None:
    for number, text in enumerate(fuzz.texts(count, PIECES, 20)):
        with contextlib.suppress(Refused):
            found = draw("prompt", text, number, folder)
            assert found == text or is_template(text)
