"""Blocklists: what they find, what they let through, and that none can hold up the bot."""

import contextlib
import time

import pytest

from bot.access import blocklist
from bot.access.blocklist import Blocklist, compiled
from generation.refusal import Refused
from tests.fixtures import fuzz


def refusal(text: str, *entries: str) -> str:
    """A refusal as it reads, code and all that it repeats; "" where the text is let through."""
    try:
        compiled(entries).check(text)
    except Refused as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("gore", "a scene of GORE"),
        ("gore", "ｇｏｒｅ in wide letters"),
        ("gore", "go\u200bre with nothing between"),
        ("gore", "go\u00ad\u034fre"),
        ("gore", "(gore:1.3)"),
        ("gore", "dark_gore, night"),
        ("gore", "画gore的"),
        ("Straße", "an empty STRASSE"),
        ("red car", "a red\n car"),
        ("red car", "red_car, blue sky"),
        ("red_car", "a red car"),
        ("c++", "written in c++"),
        ("c++", "c++17"),
        ("- red  car_", "a red-car"),
        ("a a b", "a a a b"),
        ("血腥", "一个血腥的场面"),
        ("나체", "나체를 그린 그림"),
        ("/g[o0]re?/", "G0RE"),
        ("/\\bfoo\\d+\\b/", "a foo17"),
    ],
)
def test_what_is_on_the_list_is_refused(entry: str, text: str) -> None:
    assert refusal(text, entry) == "blocked_words"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("ass", "a glass of classic bass"),
        ("red car", "a red and blue car"),
        ("red car", "a tired carpenter"),
        ("血腥", "一片血红的天空"),
        ("a.c", "abc"),
        ("c++", "abc++"),
        ("red car", "redcar"),
        ("나x", "나xy"),
        ("/^gore$/", "no gore here"),
    ],
)
def test_what_only_looks_alike_is_let_through(entry: str, text: str) -> None:
    assert refusal(text, entry) == ""


def test_without_entries_everything_is_let_through() -> None:
    compiled(()).check("anything")


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("/(/", "blocklist_invalid"),
        ("/a**/", "blocklist_invalid"),
        ("\u200b", "blocklist_blank"),
        ("_ -", "blocklist_blank"),
        ("/.*/", "blocklist_matches_all"),
        ("/x?|y/", "blocklist_matches_all"),
        ("/a{99999999}/", "blocklist_repeats"),
        ("/(?:a{99}){99}/", "blocklist_repeats"),
        ("w" * 501, "blocklist_too_long"),
        ("/(?R)/", "blocklist_recursion"),
        ("/a(?R)?b/", "blocklist_recursion"),
        ("/(a(?1)?b)/", "blocklist_recursion"),
        ("/(?<n>a(?&n)?)b/", "blocklist_recursion"),
        ("/(?P<n>a(?P>n)?)b/", "blocklist_recursion"),
        ("/" + "(" * 1000 + "a" + ")" * 1000 + "/", "blocklist_too_long"),
        ("/[a/", "blocklist_invalid"),
        ("/(?P<1>a)/", "blocklist_invalid"),
        ("/" + "w" * 500 + "/", "blocklist_too_long"),
    ],
)
def test_an_entry_that_can_be_none_is_named(entry: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        compiled(("fine", entry))
    assert refused.value.code == code
    assert refused.value.params["entry"] == entry[:80]


def test_an_expression_without_end_is_cut_off_and_refuses() -> None:
    started = time.monotonic()
    assert refusal("a" * 4000 + "b", "/(a+)+$/") == "blocklist_too_slow"
    assert time.monotonic() - started < 5, "it was not cut off: this takes longer than the sun has"


def test_words_are_found_whatever_the_expressions_do() -> None:
    assert refusal("a" * 4000 + "b gore", "/(a+)+$/", "gore") == "blocked_words"


def test_a_list_is_compiled_once() -> None:
    assert compiled(("one", "two")) is compiled(("one", "two"))


def test_an_escaped_bracket_calls_nothing() -> None:
    assert refusal("why (r", "/\\(?r/") == "blocked_words"


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_what_explodes_while_it_is_compiled_is_refused(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_args: object) -> None:
        raise error

    monkeypatch.setattr("regex.compile", explode)
    with pytest.raises(Refused) as refused:
        Blocklist(("/(a)/",))
    assert refused.value.code == "blocklist_too_deep"


def test_an_expression_that_does_not_end_on_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless:
        def search(self, *_args: object, timeout: float, **_options: object) -> None:
            assert timeout <= blocklist.SECONDS
            raise TimeoutError

    monkeypatch.setattr("regex.compile", lambda *_args: Endless())
    with pytest.raises(Refused) as refused:
        Blocklist(("/(x*)*/",))
    assert refused.value.code == "blocklist_too_deep"


def test_a_long_list_needs_no_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regex.compile", lambda *_args: pytest.fail("compiled"))
    made = Blocklist([f"word{n} and  word" for n in range(5000)])
    made.check("word1 and " * 4000)
    made.check("word1" + " _-" * 100_000 + "x")
    with pytest.raises(Refused):
        made.check("some Word4999_and - WORD")


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_entered_is_a_list_or_refused(count: int) -> None:
    pieces = ["/", "(", ")", "*", "+", "{9}", "(?", "(?R)", "[", "]", "|", "\\", "^", "$", "a"]
    for text in fuzz.texts(count, pieces):
        for entry in (text, f"/{text}/"):
            with contextlib.suppress(Refused):
                Blocklist((entry,)).check("a" * 300)
