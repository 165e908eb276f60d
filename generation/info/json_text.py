"""JSON that strangers wrote, read within bounds."""

import json
from typing import Any, Final

from generation.refusal import Refused

VALUES_MAX: Final = 300_000
"""Of one text, so that what it becomes is no larger than some tens of MiB."""
DIGITS_MAX: Final = 40


def loads(text: str) -> Any:
    """What a text says; an integer of more digits than any seed has is infinite.

    Raises Refused: data_damaged for what is no JSON or nested as nobody nests it, data_too_long
    for more values than any program writes.
    """
    if text.count(",") + text.count("[") + text.count("{") > VALUES_MAX:
        raise Refused("data_too_long")
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        raise Refused("data_damaged") from None


def table(text: str | None) -> dict[str, Any] | None:
    """The object that a text is; None where it is another thing, or none that can be read."""
    if text is None or not text.startswith("{"):
        return None
    try:
        found = loads(text)
    except Refused:
        return None
    return found if isinstance(found, dict) else None


def number(value: object) -> int | float | None:
    """A finite number, also one that is written as a text; None for everything else."""
    if isinstance(value, str) and len(value) <= DIGITS_MAX:
        try:
            value = float(value) if any(sign in value for sign in ".eE") else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    return value


def whole(value: object) -> int | None:
    """A whole number, also where it is written with a point; None for everything else."""
    found = number(value)
    if found is None or found != int(found):
        return None
    return int(found)


def text(value: object) -> str:
    """A text; "" for everything else."""
    return value if isinstance(value, str) else ""


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else float("inf")
