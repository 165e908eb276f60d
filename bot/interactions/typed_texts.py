"""The texts that an interaction carries, checked before anything looks at them."""

from collections.abc import Iterator, Mapping
from typing import Any

from generation.refusal import Refused
from generation.request_fields import check_text


def check_typed_texts(data: Mapping[str, Any] | None) -> None:
    """Raise Refused, naming the field, for a text that nothing here can keep.

    `data` is an interaction's: the options of a command, the fields of a modal, or the values of a
    menu, which nobody types.
    """
    typed = isinstance(data, Mapping) and "component_type" not in data
    for name, text in typed_texts(data or {}):
        try:
            check_text(name, text)
        except Refused:
            if typed:
                raise
            raise Refused("press_gone") from None


def typed_texts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text that somebody typed, by the name of its option or field."""
    waiting: list[Any] = [data]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        name = str(part.get("name") or part.get("custom_id") or "")
        values = part.get("values")
        for value in (part.get("value"), *(values if isinstance(values, list) else ())):
            if isinstance(value, str):
                yield name, value
        for key in ("options", "components"):
            inner = part.get(key)
            waiting += inner if isinstance(inner, list) else []
        waiting.append(part.get("component"))
