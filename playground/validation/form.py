"""Collects everything that is wrong with a request, in the nested form Discord answers with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from playground.errors import InvalidForm
from playground.snowflake import is_snowflake
from playground.world import Json


class Form:
    """A place in the request's JSON. `form["embeds"][0]` is a place within; errors share one tree.

    The checks take the object that holds the field, so that "missing" and "null" are told apart:
    `form.text(body, "content", at_most=2000)`.
    """

    def __init__(self, errors: Json | None = None, path: tuple[str, ...] = ()) -> None:
        self.errors: Json = {} if errors is None else errors
        self.path = path

    def __getitem__(self, key: str | int) -> Form:
        return Form(self.errors, (*self.path, str(key)))

    def error(self, code: str, message: str) -> None:
        place = self.errors
        for key in self.path:
            place = place.setdefault(key, {})
        place.setdefault("_errors", []).append({"code": code, "message": message})

    def done(self) -> None:
        """Raise 50035 if anything was wrong."""
        if self.errors:
            raise InvalidForm(self.errors)

    def required(self, body: Json, key: str) -> bool:
        if body.get(key) is None:
            self[key].error("BASE_TYPE_REQUIRED", "This field is required")
            return False
        return True

    def text(
        self, body: Json, key: str, *, at_most: int, at_least: int = 0, required: bool = False
    ) -> str:
        """The field as text; empty when absent, null or wrong."""
        value = body.get(key)
        if value is None:
            if required:
                self.required(body, key)
            return ""
        if not isinstance(value, str):
            self[key].error("STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
            return ""
        self[key].length(len(value), at_least, at_most)
        return value

    def length(self, length: int, at_least: int, at_most: int) -> None:
        if length > at_most and at_least == 0:
            self.error("BASE_TYPE_MAX_LENGTH", f"Must be {at_most} or fewer in length.")
        elif not at_least <= length <= at_most:
            self.error(
                "BASE_TYPE_BAD_LENGTH", f"Must be between {at_least} and {at_most} in length."
            )

    def number(
        self,
        body: Json,
        key: str,
        low: float,
        high: float,
        *,
        required: bool = False,
        whole: bool = True,
    ) -> float | None:
        value = body.get(key)
        if value is None:
            if required:
                self.required(body, key)
            return None
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            kind = "int" if whole else "float"
            self[key].error("NUMBER_TYPE_COERCE", f'Value "{value}" is not {kind}.')
            return None
        if value > high:
            message = f"int value should be less than or equal to {high}."
            self[key].error("NUMBER_TYPE_MAX", message)
        elif value < low:
            message = f"int value should be greater than or equal to {low}."
            self[key].error("NUMBER_TYPE_MIN", message)
        return value

    def flag(self, body: Json, key: str) -> bool:
        value = body.get(key)
        if value is not None and not isinstance(value, bool):
            self[key].error("BOOLEAN_TYPE_PARSE", "Must be either true or false.")
        return bool(value)

    def choice(
        self, body: Json, key: str, choices: Collection[object], *, required: bool = True
    ) -> Any:
        """The field's value if it is one of the choices, else None."""
        value = body.get(key)
        if value is None:
            if required:
                self.required(body, key)
            return None
        if isinstance(value, bool | list | dict) or value not in choices:
            among = ", ".join(repr(c) for c in choices)
            self[key].error("BASE_TYPE_CHOICES", f"Value must be one of {{{among}}}.")
            return None
        return value

    def items(
        self,
        body: Json,
        key: str,
        *,
        at_most: int,
        at_least: int = 0,
        required: bool = False,
    ) -> Iterator[tuple[Form, Json]]:
        """Each object of a list with its place; what is no object is an error of its own."""
        value = body.get(key)
        if value is None:
            if required:
                self.required(body, key)
            return
        if not isinstance(value, list):
            message = "Only iterables may be used in a ListType"
            self[key].error("LIST_TYPE_CONVERT", message)
            return
        self[key].length(len(value), at_least, at_most)
        for index, item in enumerate(value):
            place = self[key][index]
            if isinstance(item, dict):
                yield place, item
            else:
                place.error("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")

    def values(self, body: Json, key: str, among: Collection[object], at_most: int = 100) -> None:
        """A list of plain values, each one of those allowed."""
        value = body.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self[key].error("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return
        self[key].length(len(value), 0, at_most)
        for index, item in enumerate(value):
            self[key].choice({str(index): item}, str(index), among)

    def ids(self, body: Json, key: str, at_most: int = 100) -> None:
        """A list of snowflakes."""
        value = body.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self[key].error("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return
        self[key].length(len(value), 0, at_most)
        for index, item in enumerate(value):
            if isinstance(item, bool) or not is_snowflake(str(item)):
                message = f'Value "{item}" is not snowflake.'
                self[key][index].error("NUMBER_TYPE_COERCE", message)

    def inner(self, body: Json, key: str, *, required: bool = False) -> Json | None:
        """An object within the object."""
        value = body.get(key)
        if value is None:
            if required:
                self.required(body, key)
            return None
        if not isinstance(value, dict):
            self[key].error("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
            return None
        return value

    def url(
        self,
        body: Json,
        key: str,
        *,
        required: bool = False,
        schemes: Collection[str] = ("http", "https"),
        at_most: int = 2048,
    ) -> None:
        value = self.text(body, key, at_most=at_most, required=required)
        if not value:
            return
        try:
            parts = urlsplit(value)
        except ValueError:
            self[key].error("URL_TYPE_INVALID_URL", "Not a well formed URL.")
            return
        if parts.scheme not in schemes:
            among = ", ".join(repr(s) for s in schemes)
            message = f'Scheme "{parts.scheme}" is not supported. Must be one of ({among}).'
            self[key].error("URL_TYPE_INVALID_SCHEME", message)
        elif not parts.netloc:
            self[key].error("URL_TYPE_INVALID_URL", "Not a well formed URL.")
