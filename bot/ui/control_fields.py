"""The fields of a modal that say which ControlNet reads a picture, and how."""

from collections.abc import Collection, Sequence
from typing import Final

from bot.locales import Texts
from bot.ui.modal import OPTIONS_MAX, Modal
from generation.name_search import choice_of
from generation.preprocessors import AUTO, PREPROCESSORS

CHOICE_MAX: Final = 100
"""Characters of a choice; Discord's bound."""
NETS, OTHER, PREPROCESSOR, MODE, NUMBERS = (
    *("controlnet", "other", "preprocessor", "control_mode"),
    "control_scale",
)
USUAL: Final = "1, 0, 1"
"""A scale, and from which share of the steps to which one it acts."""


def add_control(modal: Modal, nets: Sequence[str], lacking: Collection[str], texts: Texts) -> Modal:
    """Four fields; `lacking` are the preprocessors whose files are not there."""
    named = [choice_of(net, CHOICE_MAX) for net in nets]
    modal.options(NETS, texts("field_controlnet"), {net: net for net in named}, named[0])
    made = {AUTO: texts("control_auto")}
    made |= {
        name: texts("control_file_missing", name=name) if name in lacking else name
        for name in PREPROCESSORS
    }
    modal.options(PREPROCESSOR, texts("field_preprocessor"), made, AUTO)
    if len(named) > OPTIONS_MAX:
        # a select holds no more: the others are named, with the mode behind them
        modal.text(OTHER, texts("dialog_other_controlnet"), placeholder=named[OPTIONS_MAX])
    else:
        modes = {mode: texts(f"control_mode_{mode}") for mode in ("balanced", "prompt", "control")}
        modal.options(MODE, texts("dialog_control_mode"), modes, "balanced")
    return modal.text(NUMBERS, texts("dialog_control_numbers"), value=USUAL)
