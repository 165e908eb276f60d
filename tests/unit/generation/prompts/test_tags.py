"""Tags that load files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.prompts import Tag, take_tags, written_tag
from generation.refusal import Refused


def test_tags_are_taken_out() -> None:
    text = "a <lora:x:0.8> cat, <LORA:y> big<lora: a b :-1:2> <lyco:z:te=1>"
    assert take_tags(text) == (
        "a cat, big",
        [Tag(("x", "0.8")), Tag(("y",)), Tag((" a b ", "-1", "2")), Tag(("z", "te=1"))],
    )
    beside = "<lora:x:1>{a} <lora:y:1> { \\{<lora:z:1>\\}"
    assert take_tags(beside)[0] == "{a} { \\{\\}"
    assert take_tags("a <b:c> d < e > <3 <lora") == ("a <b:c> d < e > <3 <lora", [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a <lora:x:0.8", "tag_open"),
        ("a <lora:x <lora:y:1>", "tag_open"),
        ("a <hypernet:x:1>", "tag_hypernet"),
        ("a {<lora:x:1>|b}", "tag_drawn"),
        ("{a {b} <lora:x:1>}", "tag_drawn"),
        ("{ <lora:x:1>}", "tag_drawn"),
    ],
)
def test_tags_that_nothing_reads_are_refused(text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        take_tags(text)
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["<lora:" * 600, "<lora:\\" * 500])
def test_a_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="tag_open"):
        take_tags(text * 100)


@given(st.text(max_size=40), st.text(alphabet=r"\:<>()[] ,a1", max_size=20))
def test_every_name_can_stand_in_a_tag(prompt: str, name: str) -> None:
    prompt = prompt.replace("<", "")
    written = f"{prompt} {written_tag(name, '0.5')}"
    assert take_tags(written) == (prompt, [Tag((name, "0.5"))])
