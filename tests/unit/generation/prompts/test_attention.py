"""How strongly words count, as A1111 has it."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.prompts import attention, plain_text, spaced_weights
from generation.prompts.attention import comfyui_attention
from tests.unit.generation.prompts.a1111 import a1111_prompts


@pytest.mark.parametrize("known", a1111_prompts(), ids=lambda known: known["prompt"])
def test_weights_are_those_of_a1111_to_the_last_bit(known: dict[str, Any]) -> None:
    assert [[*piece] for piece in attention(known["prompt"])] == known["attention"]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a cat", [("a cat", 1)]),
        ("", [("", 1)]),
        ("()[]", [("", 1)]),
        ("a (cat) b", [("a ", 1), ("cat", 1.1), (" b", 1)]),
        ("((cat))", [("cat", 1.1 * 1.1)]),
        ("[cat]", [("cat", 1 / 1.1)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat:-1)", [("cat", -1)]),
        ("(cat:+2.)", [("cat", 2)]),
        ("(cat:٣)", [("cat", 3)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("(a:1.2)(b:1.2)", [("ab", 1.2)]),
        # a bracket that is never closed holds to the end, one that was never opened is text
        ("a (b (c", [("a ", 1), ("b ", 1.1), ("c", 1.1 * 1.1)]),
        ("a) b] c:1.2)", [("a) b] c:1.2)", 1)]),
        # of those the round ones multiply first, which their last digits show
        ("((([[a", [("a", 1.1 * 1.1 * 1.1 * (1 / 1.1) * (1 / 1.1))]),
        # round and square ones are matched apart
        ("([a)b]", [("a", 1.1 * (1 / 1.1)), ("b", 1 / 1.1)]),
        # behind a backslash they are text, and the backslash is none
        (r"\(a\) \[b\] \\ c\d", [(r"(a) [b] \ cd", 1)]),
        (r"(a \(b\):1.4)", [("a (b)", 1.4)]),
        # what is no number is text, and so is one with spaces around it
        ("(cat:.)", [("cat:.", 1.1)]),
        ("(cat:1.2.3)", [("cat:1.2.3", 1.1)]),
        ("(cat: 1.3)", [("cat: 1.3", 1.1)]),
        ("(at 10:30)", [("at 10", 30)]),
        ("a: b", [("a: b", 1)]),
        # BREAK takes the spaces around it along, and is a word inside of others
        ("a BREAK b", [("a", 1), ("BREAK", -1), ("b", 1)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        # in brackets, too, for it has a weight there
        ("(a BREAK b)", [("a", 1.1), ("BREAK", -1.1), ("b", 1.1)]),
    ],
)
def test_how_strongly_words_count(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert attention(prompt) == pieces


def test_plain_text_is_what_the_encoder_reads() -> None:
    for prompt in ("nu()de", r"nu\de", "(nu)(de)", "nu[]de", "(nude:1.2)"):
        assert plain_text(prompt) == "nude"
    assert plain_text("a dog BREAK a cat") == "a dog a cat"


def test_weights_with_a_space_are_named() -> None:
    text = "(fog: 1.2), (a rain:1.2 ) (sun:1.3) (at 10: 30) [x: 3] (b:c) (b: c) (fog: 1.2)"
    assert spaced_weights(text) == ["fog: 1.2)", "rain:1.2 )", "10: 30)"]
    assert spaced_weights("time: 10)") == []
    for hostile in ("(" + ":" * 4000, "(" + ": 1" * 1300, "(:" + " " * 3990, "(:" + "1" * 3990):
        assert spaced_weights(hostile) == []


HOSTILE = [
    "[" * 1333 + "](" * 1333,
    "(" * 4000,
    "(a" * 2000,
    "[a" * 1000 + "b]" * 1000,
    "()" * 2000,
    "(a:2)" * 800,
    ":" * 4000,
    ":1" * 2000,
    "(" + ": 1 " * 999,
    ":" + "1" * 3999,
    ":" + " " * 3999,
    "\\" * 4000,
    "BREAK" * 800,
    " " * 3000 + "BREAK" + " " * 995,
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_hostile_prompt_costs_little(prompt: str) -> None:
    """Each is some hundredths of a second; one that is cubic would need half an hour."""
    assert attention(prompt)


@given(st.text(alphabet=r"()[]\:.,1-a ", max_size=60))
def test_pieces_are_in_order_and_neighbours_differ(prompt: str) -> None:
    pieces = attention(prompt)
    assert pieces
    assert all(a[1] != b[1] for a, b in itertools.pairwise(pieces))
    kept = iter(prompt)
    assert all(sign in kept for sign in "".join(text for text, _ in pieces))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (cat) [dog]", [("a ", 1.0), ("cat", 1.1), (" [dog]", 1.0)]),
        # a weight holds whatever stands around it, and numbers may have spaces
        ("((cat:1.2) dog:0.5)", [("cat", 1.2), (" dog", 0.5)]),
        ("(a (b))", [("a ", 1.1), ("b", 1.1 * 1.1)]),
        ("(cat: 1.5 )", [("cat", 1.5)]),
        ("(cat:-1)", [("cat", -1.0)]),
        ("(cat:big)", [("cat:big", 1.1)]),
        ("(:2)", [(":2", 1.1)]),
        (r"cat \(big\) (\(red\):1.3)", [("cat (big) ", 1.0), ("(red)", 1.3)]),
        # one that is never closed counts for nothing
        ("a (cat", [("a ", 1.0), ("(cat", 1.0)]),
        ("cat BREAK dog", [("cat BREAK dog", 1.0)]),
        ("", []),
    ],
)
def test_comfyui_reads_weights_in_its_own_way(text: str, expected: list[tuple[str, float]]) -> None:
    found = comfyui_attention(text)
    assert [said for said, _ in found] == [said for said, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])
