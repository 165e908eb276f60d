"""Prompts that are drawn together."""

import pytest

from generation.prompts import composed


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", [("", 1)]),
        ("a cat", [("a cat", 1)]),
        ("a cat AND a dog", [("a cat", 1), (" a dog", 1)]),
        ("a cat :1.2 AND a dog:0.5", [("a cat", 1.2), (" a dog", 0.5)]),
        ("a AND b : -.5  \n AND c:2.", [("a", 1), (" b", -0.5), (" c", 2)]),
        ("a\nb :2 AND c", [("a\nb", 2), (" c", 1)]),
        ("a:b AND (c:1.2) AND d:1:2", [("a:b", 1), (" (c:1.2)", 1), (" d:1", 2)]),
        ("a:1e3", [("a:1e3", 1)]),
        # a word of its own, and in capitals
        ("SAND ANDROID and", [("SAND ANDROID and", 1)]),
        ("(AND) AND", [("(", 1), (")", 1), ("", 1)]),
    ],
)
def test_a_prompt_is_split_at_and(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert composed(prompt) == parts


def test_a_hostile_prompt_costs_what_its_length_does() -> None:
    for prompt in (":" * 4000, ": " * 2000, " " * 4000, "AND:1" * 800, ":" + "1" * 4000):
        assert composed(prompt * 100)
