"""Modals: a title, and one to five rows or labels with one input each."""

from __future__ import annotations

from collections.abc import Callable

from playground.world import Json

from .components import (
    CHECKBOX,
    CHECKBOX_GROUP,
    FILE_UPLOAD,
    LABEL,
    RADIO_GROUP,
    ROW,
    SELECTS,
    STRING_SELECT,
    TEXT_DISPLAY,
    TEXT_INPUT,
    check_choices,
    check_range,
    check_unique,
    walk,
)
from .form import Form

MAX_PARTS = 5
IN_LABEL = (TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX)


def check_modal(form: Form, modal: Json) -> None:
    form.text(modal, "custom_id", at_least=1, at_most=100, required=True)
    form.text(modal, "title", at_least=1, at_most=45, required=True)
    for place, part in form.items(
        modal, "components", at_least=1, at_most=MAX_PARTS, required=True
    ):
        _check_part(place, part)
    check_unique(form["components"], list(walk(modal.get("components"))))


def _check_part(form: Form, part: Json) -> None:
    kind = form.choice(part, "type", (ROW, TEXT_DISPLAY, LABEL))
    if kind == TEXT_DISPLAY:
        form.text(part, "content", at_least=1, at_most=4000, required=True)
    elif kind == ROW:
        for place, child in form.items(part, "components", at_least=1, at_most=1, required=True):
            if place.choice(child, "type", (TEXT_INPUT,)) is not None:
                _check_text_input(place, child)
                place.text(child, "label", at_least=1, at_most=45, required=True)
    elif kind == LABEL:
        form.text(part, "label", at_least=1, at_most=45, required=True)
        form.text(part, "description", at_most=100)
        inner = form.inner(part, "component", required=True)
        if inner is not None and form["component"].choice(inner, "type", IN_LABEL) is not None:
            CHECKS[inner["type"]](form["component"], inner)


def _check_text_input(form: Form, field: Json) -> None:
    form.text(field, "custom_id", at_least=1, at_most=100, required=True)
    form.choice(field, "style", (1, 2))
    form.number(field, "min_length", 0, 4000)
    form.number(field, "max_length", 1, 4000)
    form.text(field, "value", at_most=4000)
    form.text(field, "placeholder", at_most=100)


def _check_select(form: Form, select: Json) -> None:
    form.text(select, "custom_id", at_least=1, at_most=100, required=True)
    form.text(select, "placeholder", at_most=150)
    check_range(form, select, 25)
    if select["type"] == STRING_SELECT:
        check_choices(form, select, 25)
    if select.get("disabled"):
        form["disabled"].error(
            "COMPONENT_DISABLED_IN_MODAL", "Components in modals cannot be disabled"
        )


def _check_upload(form: Form, upload: Json) -> None:
    form.text(upload, "custom_id", at_least=1, at_most=100, required=True)
    check_range(form, upload, 10)


def _check_group(form: Form, group: Json) -> None:
    form.text(group, "custom_id", at_least=1, at_most=100, required=True)
    radio = group["type"] == RADIO_GROUP
    check_choices(form, group, 10, at_least=2 if radio else 1)
    if not radio:
        check_range(form, group, 10)


def _check_checkbox(form: Form, box: Json) -> None:
    form.text(box, "custom_id", at_least=1, at_most=100, required=True)
    form.flag(box, "default")


CHECKS: dict[int, Callable[[Form, Json], None]] = {
    TEXT_INPUT: _check_text_input,
    **dict.fromkeys(SELECTS, _check_select),
    FILE_UPLOAD: _check_upload,
    RADIO_GROUP: _check_group,
    CHECKBOX_GROUP: _check_group,
    CHECKBOX: _check_checkbox,
}
