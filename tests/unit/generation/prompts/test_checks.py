"""What a prompt is refused for, before anything is drawn."""

import pytest

from generation.prompts import check_prompt, check_weights
from generation.refusal import Refused


def test_a_weight_that_overflows_is_refused() -> None:
    for prompt in (
        "(cat:101)",
        "(cat:-101)",
        "(" * 60 + "cat",
        "((cat:1000000000))",
        f"(cat:{'9' * 4301})",
    ):
        with pytest.raises(Refused, match="weight_too_strong") as refused:
            check_weights("prompt", prompt)
        assert refused.value.params["words"] == "cat"
    # nothing counts in them
    check_weights("prompt", "[" * 1333 + "](" * 1333)
    check_weights("prompt", "(cat:1.5), ((dog)), [fox]")


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("(cat:101)", "weight_too_strong"),
        ("a AND cat :101", "weight_too_strong"),
        # what is said at a later step has fewer brackets around it
        ("[[[(cat:101):1]:1]:1]", "weight_too_strong"),
        ("(cat:[101:2])", "weight_too_strong"),
        ("[" * 101, "nested_too_deep"),
        ("[" * 1000 + "cat" + "]" * 1000, "nested_too_deep"),
        ("([" * 51 + "cat", "nested_too_deep"),
        (" AND ".join("abcdefghijk"), "parts_too_many"),
    ],
)
def test_what_cannot_be_drawn_is_refused(prompt: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_prompt("prompt", prompt, 20)
    assert refused.value.code == code


def test_what_can_be_drawn_is_not() -> None:
    for prompt in ("a", "()" * 500, "[a|(b:1.2)] AND c :-.5", "[" * 100, "(cat:[101:20])"):
        check_prompt("prompt", prompt, 20)
    # AND is a word there
    check_prompt("negative_prompt", " AND ".join("abcdefghijk"), 20)


@pytest.mark.parametrize(
    "prompt",
    [
        "[" + "a|" * 1990 + "a]",
        "[a|b]" + "()" * 1990,
        "[a|b]" + "([x])" * 790,
        "AND".join(f"[{n}a:1]]" for n in range(10)),
        "[a|b]" + "[(" * 49 + "(cat:1.2) " * 380,
    ],
)
def test_a_hostile_prompt_costs_little(prompt: str) -> None:
    check_prompt("prompt", prompt[:4000], 150)
