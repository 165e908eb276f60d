"""What is said when, read a second time: off the whole tree of a parser for ambiguous grammars."""

import random
from collections.abc import Iterator

import lark
import pytest

from generation.prompts import schedule
from generation.prompts.ties import GRAMMAR

pytestmark = pytest.mark.slow

STEPS = 10
WORDS = ["a", "b c", " d", "e ", ",", "é", "BREAK", "1", "0.5", "  ", "\n", "\\(", "\\]", "\\\\"]
NUMBERS = ["3", "4", ".5", "0.25", "0", "1", "99", " 2", "\t3", "1e0", "0.", "1E-1", "+3", "-1"]
SIGNS = ["[", "]", "(", ")", ":", "|", "\\", " ", ","]


@pytest.fixture(scope="module")
def parser() -> lark.Lark:
    return lark.Lark(GRAMMAR)


def prompts(count: int) -> Iterator[str]:
    """Nested forms, half of them with some signs put in, and heaps of signs."""
    chance = random.Random(count)

    def said(depth: int) -> str:
        return "".join(one(depth) for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3])))

    def one(depth: int) -> str:
        kind = chance.random()
        if depth == 0 or kind < 0.35:
            return chance.choice(WORDS)
        inner, other = said(depth - 1), said(depth - 1)
        number = chance.choice(NUMBERS)
        forms = [
            f"({inner})", f"({inner}:{number})", f"[{inner}]", f"[{inner}|{other}]",
            f"[{inner}:{other}:{number}]", f"[{inner}:{number}]", f"[{inner}::{number}]",
        ]  # fmt: skip
        return chance.choice(forms)

    for number in range(count):
        if number % 4 == 0:
            yield "".join(chance.choice([*SIGNS, "a", ":4]"]) for _ in range(chance.randint(1, 14)))
            continue
        text = said(chance.randint(1, 3))
        for _ in range(chance.randint(0, 3) if number % 2 else 0):
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice(SIGNS) + text[at:]
        if len(text) < 80:
            yield text


def read(prompt: str, parser: lark.Lark) -> list[tuple[int, str]]:
    try:
        tree = parser.parse(prompt)
    except lark.exceptions.LarkError:
        return [(STEPS, prompt)]
    untils = {STEPS, *(end(change) for change in tree.find_data("change"))}
    if any(tree.find_data("turns")):
        untils |= set(range(1, STEPS + 1))
    return [(until, said_at(tree, until)) for until in sorted(untils)]


def end(change: "lark.Tree[lark.Token]") -> int:
    number = float(str(change.children[-1]))
    return int(min(STEPS, number * STEPS if number < 1 else number))


def said_at(node: "lark.Tree[lark.Token] | lark.Token | None", step: int) -> str:
    if not isinstance(node, lark.Tree):
        return str(node or "")
    children = node.children
    if node.data == "change":
        before, after = children[:2]
        return said_at(before if step <= end(node) else after, step)
    if node.data == "turns":
        chosen = children[(step - 1) % len(children)]
        assert isinstance(chosen, lark.Tree)
        return said_at(chosen.children[0], step) if chosen.children else ""
    return "".join(said_at(child, step) for child in children)


@pytest.mark.parametrize("count", [400, pytest.param(5_000, marks=pytest.mark.slow)])
def test_both_readings_say_the_same(parser: lark.Lark, count: int) -> None:
    for prompt in prompts(count):
        assert schedule(prompt, STEPS) == read(prompt, parser), repr(prompt)
