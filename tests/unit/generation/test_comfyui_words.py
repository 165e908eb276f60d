"""Learned words in ComfyUI's spelling."""

import pytest

from generation.comfyui.words import is_spellable, spelled

WORDS = {"bad-hands": "neg/bad-hands", "bad": "bad", "EasyNegative": "EasyNegative"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a fox", "a fox"),
        ("easynegative, fog", "embedding:EasyNegative, fog"),
        ("(EasyNegative:1.2)", "(embedding:EasyNegative:1.2)"),
        ("fog,bad-hands", "fog, embedding:neg/bad-hands"),
        ("bad-hands.", "embedding:neg/bad-hands ."),
        ("bad-handsome", "embedding:bad -handsome"),
        ("badly", "badly"),
        ("bad bad-hands", "embedding:bad embedding:neg/bad-hands"),
        ("a embedding:bad-hands fox", "a embedding:neg/bad-hands fox"),
        ("embedding:Bad", "embedding:bad"),
        ("x-bad", "x- embedding:bad"),
    ],
)
def test_words_are_marked_where_clip_finds_them(text: str, told: str) -> None:
    assert spelled(text, WORDS) == told


def test_without_such_words_a_prompt_is_as_it_was_written() -> None:
    assert spelled("embedding:unknown  (x)", {}) == "embedding:unknown  (x)"


@pytest.mark.parametrize("name", ["two words", "1.5", "a:b", "(a)", "a,b"])
def test_what_comfyui_would_read_otherwise_is_told(name: str) -> None:
    assert not is_spellable(name)


@pytest.mark.parametrize("name", ["bad-hands", "v2.1", "sd/easy_negative"])
def test_other_names_are_fine(name: str) -> None:
    assert is_spellable(name)
