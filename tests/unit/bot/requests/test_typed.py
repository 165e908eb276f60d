"""What was typed after /imagine, as the fields of a modal: nothing is lost on the way."""

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from bot.requests import typed
from generation.refusal import Refused
from generation.request_options import options

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
NAMES = {"str": TEXT, "int": st.integers(-(2**53), 2**53), "float": st.floats(-1e6, 1e6)}
NAMED = {
    name: st.sampled_from(option.choices) if option.choices else NAMES[option.type.__name__]
    for name, option in options().items()
    if not option.picture and name != "prompt"
}
HASHES = {name: str(i) * 64 for i, name in enumerate(("init_picture", "control_picture"))}


@drawn(
    st.fixed_dictionaries(
        {"prompt": TEXT},
        optional={**NAMED, "preset": TEXT, "aspect": TEXT, "private": st.booleans()},
    )
)
def test_what_is_filled_in_is_what_was_typed(given: dict[str, object]) -> None:
    fields = typed.fields(given, HASHES)
    assert typed.given(fields, HASHES) == {**given, **HASHES}


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("stepps: 3", "parameter_unknown"),
        ("steps: 3\nsteps: 4", "parameter_twice"),
        ("steps", "parameter_line"),
        ("steps: many", "not_a_number"),
        ("private: perhaps", "flag_yes_or_no"),
        # a hash is nobody's to type: it would be another's picture
        (f"init_picture: {HASHES['control_picture']}", "draft_picture"),
        ("init_picture: kept", "draft_picture"),
    ],
)
def test_what_can_not_be_read_is_refused(lines: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        typed.given({"prompt": "a fox", "negative_prompt": "", "parameters": lines}, {})
    assert refused.value.code == code


def test_several_loras() -> None:
    fields = {"prompt": "a fox", "negative_prompt": "", "parameters": "lora: a:0.5\nlora: b"}
    assert typed.given(fields, {})["lora"] == ("a:0.5", "b")
    assert typed.fields({"prompt": "x", "lora": ("a:0.5", "b")}, {})["parameters"] == (
        "lora: a:0.5\nlora: b"
    )


@drawn(st.one_of(st.none(), TEXT), st.booleans())
def test_what_stands_beside_the_parameters(preset: str | None, private: bool) -> None:
    text = "steps: 3\n" + typed.beside(preset, private=private) + "\nlora: preset: x:0.5"
    assert typed.apart(text) == ("steps: 3\nlora: preset: x:0.5", preset, private)
