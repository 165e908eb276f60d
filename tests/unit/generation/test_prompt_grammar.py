"""A1111's prompt language, and that nothing in it costs more than its length."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import prompt_grammar
from generation.prompt_grammar import Tag, Weighted, plain_text, take_tags, weighted, written_tag
from generation.refusal import Refused


def read(prompt: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 6)) for piece in weighted(prompt)]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a cat", [("a cat", 1)]),
        ("", [("", 1)]),
        ("()[]", [("", 1)]),
        ("a (cat) b", [("a ", 1), ("cat", 1.1), (" b", 1)]),
        ("((cat))", [("cat", 1.21)]),
        ("[cat]", [("cat", 0.909091)]),
        ("[[cat]]", [("cat", 0.826446)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat: 1.3 )", [("cat", 1.3)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat:-1)", [("cat", -1)]),
        ("(cat:+2.)", [("cat", 2)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("(a slice of pizza:1.0)", [("a slice of pizza", 1)]),
        ("(a:1.2)(b:1.2)", [("ab", 1.2)]),
        # a bracket that is never closed holds to the end, one that was never opened is text
        ("a (b (c", [("a ", 1), ("b ", 1.1), ("c", 1.21)]),
        ("a) b] c:1.2)", [("a) b] c:1.2)", 1)]),
        ("([a)b]", [("a", 1), ("b", 0.909091)]),
        # behind a backslash they are text, and the backslash is none
        (r"\(a\) \[b\] \\ c\d", [(r"(a) [b] \ cd", 1)]),
        (r"(a \(b\):1.4)", [("a (b)", 1.4)]),
        # what is no number is text
        ("(cat:.)", [("cat:.", 1.1)]),
        ("(cat:1.2.3)", [("cat:1.2.3", 1.1)]),
        ("(at 10:30)", [("at 10", 30)]),
        ("a: b", [("a: b", 1)]),
        ("灯台 (霧:0.5)", [("灯台 ", 1), ("霧", 0.5)]),
        # not yet read otherwise: words as any
        ("a BREAK b AND c", [("a BREAK b AND c", 1)]),
    ],
)
def test_how_strongly_words_count(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert read(prompt) == pieces


def test_plain_text_is_what_the_encoder_reads() -> None:
    for prompt in ("nu()de", r"nu\de", "(nu)(de)", "nu[]de", "(nude:1.2)"):
        assert plain_text(prompt) == "nude"


HOSTILE = [
    "[" * 1333 + "](" * 1333,
    "(" * 4000,
    "(a" * 2000,
    "()" * 2000,
    "(a:2)" * 800,
    ":" * 4000,
    ":1" * 2000,
    "(" + ": 1 " * 999,
    ":" + "1" * 3999,
    ":" + " " * 3999,
    "\\" * 4000,
    "<lora:" * 600,
    "<lora:\\" * 500,
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_hostile_prompt_costs_what_its_length_does(prompt: str) -> None:
    """A hundred times its length: a parser that is quadratic would need half a minute."""
    assert weighted(prompt * 100)


def test_a_weight_that_overflows_is_refused() -> None:
    for prompt in (
        "(cat:101)",
        "(cat:-101)",
        "(" * 60 + "cat",
        "((cat:1e9))",
        f"(cat:{'9' * 4301})",
    ):
        with pytest.raises(Refused, match="weight_too_strong") as refused:
            prompt_grammar.check_weights("prompt", prompt.replace("1e9", "1000000000"))
        assert refused.value.params["words"] == "cat"
    # nothing counts in them
    prompt_grammar.check_weights("prompt", "[" * 1333 + "](" * 1333)
    prompt_grammar.check_weights("prompt", "(cat:1.5), ((dog)), [fox]")


def test_tags_are_taken_out() -> None:
    text = "a <lora:x:0.8> cat, <LORA:y> big<lora: a b :-1:2>"
    assert take_tags(text) == (
        "a cat, big",
        [Tag(("x", "0.8")), Tag(("y",)), Tag((" a b ", "-1", "2"))],
    )
    assert take_tags("a <b:c> d < e > <3 <lora") == ("a <b:c> d < e > <3 <lora", [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a <lora:x:0.8", "tag_open"),
        ("a <lora:x <lora:y:1>", "tag_open"),
        ("a <lyco:x:1>", "tag_lyco"),
        ("a <hypernet:x:1>", "tag_hypernet"),
    ],
)
def test_tags_that_nothing_reads_are_refused(text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        take_tags(text)
    assert refused.value.code == code


@given(st.text(max_size=40), st.text(alphabet=r"\:<>()[] ,a1", max_size=20))
def test_every_name_can_stand_in_a_tag(prompt: str, name: str) -> None:
    prompt = prompt.replace("<", "")
    written = f"{prompt} {written_tag(name, '0.5')}"
    assert take_tags(written) == (prompt, [Tag((name, "0.5"))])


@given(st.text(alphabet=r"()[]\:.,1-a ", max_size=60))
def test_pieces_are_in_order_and_neighbours_differ(prompt: str) -> None:
    pieces = weighted(prompt)
    assert pieces
    assert all(a.weight != b.weight for a, b in itertools.pairwise(pieces))
    kept = iter(prompt)
    assert all(sign in kept for sign in "".join(piece.text for piece in pieces))
    assert all(isinstance(piece, Weighted) for piece in pieces)
