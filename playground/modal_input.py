"""What a person entered in a modal, checked against the modal and in the form the bot gets."""

from __future__ import annotations

from typing import Any

from .errors import Refused
from .resolved import Resolved
from .validation.components import (
    CHECKBOX,
    CHECKBOX_GROUP,
    FILE_UPLOAD,
    LABEL,
    RADIO_GROUP,
    ROW,
    SELECTS,
    STRING_SELECT,
    TEXT_INPUT,
    walk,
)
from .world import Json


def collect(modal: Json, given: list[Json], resolved: Resolved) -> list[Json]:
    """The modal's components, each with the entered value; Refused for what can't be entered."""
    entered = {c["custom_id"]: c for c in walk(given) if "custom_id" in c}
    known = {c["custom_id"] for c in walk(modal["components"]) if "custom_id" in c}
    if unknown := set(entered) - known:
        raise Refused(message=f"The modal has no field {min(unknown)!r}.")
    parts: list[Json] = []
    for part in modal["components"]:
        shown: Json = {"type": part["type"], "id": part["id"]}
        if part["type"] == ROW:
            shown["components"] = [_field(c, entered, resolved) for c in part["components"]]
        elif part["type"] == LABEL:
            shown["component"] = _field(part["component"], entered, resolved)
        parts.append(shown)
    return parts


def _field(field: Json, entered: dict[str, Json], resolved: Resolved) -> Json:
    kind, name = field["type"], field["custom_id"]
    answer = entered.get(name, {})
    result: Json = {"type": kind, "id": field["id"], "custom_id": name}
    if kind == TEXT_INPUT:
        return result | {"value": _text(field, answer.get("value"))}
    if kind == CHECKBOX:
        return result | {"value": bool(answer.get("value", field.get("default", False)))}
    if kind == RADIO_GROUP:
        value = answer.get("value")
        _check_chosen(field, [] if value is None else [value])
        return result | {"value": value}
    values = [str(v) for v in answer.get("values") or []]
    _check_chosen(field, values)
    if kind in SELECTS or kind == FILE_UPLOAD:
        resolved.select(kind, values)
    return result | {"values": values}


def _text(field: Json, value: Any) -> str:
    text = field.get("value") or "" if value is None else str(value)
    required = field.get("required", True)
    if not text and not required:
        return ""
    low = max(field.get("min_length") or 0, 1 if required else 0)
    high = field.get("max_length") or 4000
    if not low <= len(text) <= high:
        wanted = f"{low} to {high} characters"
        raise Refused(message=f"Field {field['custom_id']!r} takes {wanted}.")
    return text


def _check_chosen(field: Json, values: list[str]) -> None:
    required = field.get("required", True)
    if not values and not required:
        return
    low, high = field.get("min_values"), field.get("max_values")
    if low is None:
        low = 1 if required else 0
    if high is None:
        high = len(field["options"]) if field["type"] == CHECKBOX_GROUP else 1
    if not max(low, 1 if required else 0) <= len(values) <= high:
        raise Refused(message=f"Field {field['custom_id']!r} takes from {low} to {high} values.")
    if field["type"] in (STRING_SELECT, RADIO_GROUP, CHECKBOX_GROUP):
        known = {option["value"] for option in field["options"]}
        if unknown := [v for v in values if v not in known]:
            raise Refused(message=f"{unknown[0]!r} is not among the options.")
