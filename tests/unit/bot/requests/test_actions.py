"""What the rows of the actions say of themselves."""

from bot.requests.actions import ACTIONS


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
