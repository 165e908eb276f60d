"""What a prompt says at which step, as A1111 has it."""

from typing import Any

import pytest

from generation.prompts import drawn_texts, schedule
from tests.unit.generation.prompts.a1111 import a1111_prompts


@pytest.mark.parametrize("known", a1111_prompts(), ids=lambda known: known["prompt"])
def test_it_says_what_a1111_says(known: dict[str, Any]) -> None:
    found = schedule(known["prompt"], known["steps"])
    assert [[*entry] for entry in found] == known["schedule"]


@pytest.mark.parametrize(
    ("prompt", "entries"),
    [
        ("a cat", [(10, "a cat")]),
        ("a [cat:dog:4]!", [(4, "a cat!"), (10, "a dog!")]),
        ("a [cat:dog:0.25]", [(2, "a cat"), (10, "a dog")]),
        ("a [cat:dog: .5]", [(5, "a cat"), (10, "a dog")]),
        ("[cat::4]", [(4, "cat"), (10, "")]),
        ("[cat:4]", [(4, ""), (10, "cat")]),
        ("[cat:dog:1.0]", [(1, "cat"), (10, "dog")]),
        ("[cat:dog:99]", [(10, "cat")]),
        ("[cat:dog:1e999]", [(10, "cat")]),
        ("[cat:dog:1e0]", [(1, "cat"), (10, "dog")]),
        ("[a:[b:c:6]:3]", [(3, "a"), (6, "b"), (10, "c")]),
        ("[a:b:0]", [(0, "a"), (10, "b")]),
        ("[a:b:-.2]", [(-2, "a"), (10, "b")]),
        # emphasis stays for attention to read
        ("[(a:1.2):[b]:3]", [(3, "(a:1.2)"), (10, "[b]")]),
        (r"[a\:b:c\]:3]", [(3, r"a\:b"), (10, r"c\]")]),
        # what fits no form is text
        ("a [b", [(10, "a [b")]),
        ("a [b:c]", [(10, "a [b:c]")]),
        ("[a:b:3 ]", [(10, "[a:b:3 ]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        ("[a(b:3]", [(10, "[a(b:3]")]),
        ("(a:b:3)", [(10, "(a:b:3)")]),
        ("[(a:b:c):[d:3]:4]", [(3, "[(a:b:c)::4]"), (10, "[(a:b:c):d:4]")]),
        # signs without a partner take a change's end along, or do not, as A1111's parser has it
        ("[a:b:3]]", [(3, "a]"), (10, "b]")]),
        ("[a:b:3]](", [(10, "[a:b:3]](")]),
        ("[a:b:3]](:", [(3, "a](:"), (10, "b](:")]),
        ("([x:3])]", [(10, "([x:3])]")]),
        ("[c:3] [a:b:3]](", [(3, " [a:b:3]]("), (10, "c [a:b:3]](")]),
        # a bar without a form undoes them all, and so does a backslash before nothing
        ("a|b [c:3]", [(10, "a|b [c:3]")]),
        ("[c:3] \\", [(10, "[c:3] \\")]),
    ],
)
def test_what_is_said_when(prompt: str, entries: list[tuple[int, str]]) -> None:
    assert schedule(prompt, 10) == entries


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("[a|b]", ["a", "b", "a", "b"]),
        ("x[a|b|c]", ["xa", "xb", "xc", "xa"]),
        ("[fe|]male", ["female", "male", "female", "male"]),
        ("[|a]", ["", "a", "", "a"]),
        # of several things the first alone
        ("[(a) b|c]", ["(a)", "c", "(a)", "c"]),
        ("[[a|b]|c]", ["a", "c", "a", "c"]),
        ("[[a:b:2]|c]", ["a", "c", "b", "c"]),
    ],
)
def test_turns(prompt: str, said: list[str]) -> None:
    assert schedule(prompt, 4) == list(enumerate(said, 1))


@pytest.mark.parametrize(
    ("prompt", "old", "entries"),
    [
        ("[a:b:4]", False, [(8, "b")]),
        ("[a:b:10]", False, [(8, "b")]),
        ("[a:b:13]", False, [(3, "a"), (8, "b")]),
        ("[a:b:99]", False, [(8, "a")]),
        ("[a:b:0.5]", False, [(8, "b")]),
        ("[a:b:1.5]", False, [(4, "a"), (8, "b")]),
        ("[a|b]", False, [(step, "ab"[(step - 1) % 2]) for step in range(1, 9)]),
        ("[a:b:4]", True, [(4, "a"), (8, "b")]),
        ("[a:b:0.5]", True, [(4, "a"), (8, "b")]),
        ("[a:b:1.5]", True, [(1, "a"), (8, "b")]),
    ],
)
def test_the_second_pass(prompt: str, old: bool, entries: list[tuple[int, str]]) -> None:
    assert schedule(prompt, 10, 8, old=old) == entries


@pytest.mark.parametrize(
    ("prompt", "entries"),
    [
        ("[a:b:4]", [(4, "a"), (10, "b")]),
        ("[a:b:13]", [(10, "a")]),
        ("[a:b:0.5]", [(5, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:1.5]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
    ],
)
def test_the_first_pass_of_two(prompt: str, entries: list[tuple[int, str]]) -> None:
    assert schedule(prompt, 10, hires_follows=True) == entries


def test_every_text_that_is_drawn_is_known() -> None:
    assert drawn_texts("nu[x:de:0] AND (b[i|u]g:1.2)", 10) == ["nux", "nude", " big", " bug"]
    assert drawn_texts("a [b:c:1.5]", 10, 10) == ["a b", "a c"]


HOSTILE = [
    "[" * 4000,
    "[a|b" * 1000,
    "(:1" * 1333,
    "[a:b:" * 800,
    "[a:b:1]" * 571,
    "[a:" * 1000 + ":1]" * 333,
    "[" * 2000 + ":1]" * 666,
    "[a|" * 1000 + "]" * 1000,
    "[" * 1000 + "a" + "|b]" * 1000,
    "(" * 2000 + ")" * 2000,
    "[a|b](" * 650,
    "\\" * 4000,
    "[" + "|" * 3998 + "]",
    "[a:" + "1" * 3990 + "]",
    "[a:1]]" * 600,
    "[a:1]]" + " " * 3900,
    "[a:1" + "]" * 56,
    "(" * 27 + "[a:1]" + ")" * 27 + "]",
    "[a:1](" + "([" * 27,
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_hostile_prompt_costs_what_its_length_does(prompt: str) -> None:
    assert schedule(prompt, 150)[-1][0] == 150
