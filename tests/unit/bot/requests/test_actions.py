"""What the rows of the actions say of themselves."""

from bot.requests.actions import ACTIONS, NUMBERS, without_selector


def test_prompts_are_written_in_the_dialogs_alone() -> None:
    assert {row.name for row in ACTIONS.values() if row.written} == {
        "edit",
        "extend",
        "redraw",
        "edit_words",
        "imagine_this",
        "start",
        "retry",
    }


def test_which_ask_for_pictures_without_a_dialog() -> None:
    grows = {"pan_left", "pan_right", "pan_up", "pan_down", "zoom_out", "zoom_out_more"}
    drawn = {"reroll", "describe", "upscale", "faces", "cutout", "hires", "hd"}
    drawn |= {"vary_subtle", "vary_strong", "replay"}
    at_once = grows | drawn
    assert {row.name for row in ACTIONS.values() if row.asks} == at_once


def test_an_emoji_means_one_thing_on_a_message() -> None:
    for kinds in (
        {"job", "picture", "either", "controlled", "described"},
        {"unfinished"},
        {"failed"},
    ):
        emojis = [without_selector(a.emoji) for a in ACTIONS.values() if a.on in kinds]
        assert len(set(emojis)) == len(emojis)
        assert not set(emojis) & {without_selector(number) for number in NUMBERS}
