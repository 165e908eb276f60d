"""Texts of commands and modals, however deep they lie."""

from typing import Any

import pytest

from bot.interactions.typed_texts import check_typed_texts, typed_texts
from generation.refusal import Refused

COMMAND = {
    "name": "preset",
    "options": [
        {
            "name": "create",
            "type": 1,
            "options": [{"name": "name", "value": "night"}, {"name": "job", "value": 3}],
        }
    ],
}
MODAL = {
    "custom_id": "darkroom:edit:1",
    "components": [
        {"type": 18, "component": {"custom_id": "prompt", "value": "a cat"}},
        {"type": 1, "components": [{"custom_id": "parameters", "value": "steps: 3"}]},
        {"type": 18, "component": {"custom_id": "choice", "values": ["one", "two"]}},
    ],
}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (COMMAND, {("name", "night")}),
        (
            MODAL,
            {("prompt", "a cat"), ("parameters", "steps: 3"), ("choice", "one"), ("choice", "two")},
        ),
        ({}, set()),
        ({"options": None, "components": [None, 3, {"value": None}], "values": "x"}, set()),
    ],
)
def test_every_text_is_found(data: dict[str, Any], found: set[tuple[str, str]]) -> None:
    assert set(typed_texts(data)) == found


@pytest.mark.parametrize("bad", ["\ud83d", "a\0b"])
def test_the_field_of_a_text_that_cannot_be_kept_is_named(bad: str) -> None:
    check_typed_texts(None)
    check_typed_texts(COMMAND)
    with pytest.raises(Refused) as refused:
        check_typed_texts({"options": [{"name": "search", "value": bad}]})
    assert (refused.value.code, refused.value.params) == ("text_unusable", {"option": "search"})


def test_nesting_is_no_recursion() -> None:
    data: dict[str, Any] = {"name": "x", "value": "deep"}
    for _ in range(5000):
        data = {"options": [data]}
    assert list(typed_texts(data)) == [("x", "deep")]
