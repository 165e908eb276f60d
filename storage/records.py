"""JSON texts as records, one by one, so that one that can't be read stops no other."""

from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ColumnElement, LargeBinary, Text, cast, type_coerce
from sqlalchemy.engine import Dialect

Record = TypeVar("Record", bound=msgspec.Struct)
RecordText = str | bytes
"""The text of a record as the driver has it."""
UNDECODABLE: Final = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What decoding raises."""


class RecordUnreadableError(Exception):
    """What the database has of something can't be decoded."""


def text_of(column: Any, dialect: Dialect) -> ColumnElement[Any]:
    """A column of JSON text, not yet decoded; of SQLite as bytes, as the text may be no UTF-8."""
    return cast(column, LargeBinary) if dialect.name == "sqlite" else type_coerce(column, Text)


def decoded(text: RecordText, type_: type[Record]) -> Record:
    """The record. Raises RecordUnreadableError."""
    try:
        return msgspec.json.decode(text, type=type_)
    except UNDECODABLE as error:
        raise RecordUnreadableError(str(error)) from error


def readable_fields(text: RecordText, type_: type[Record]) -> dict[str, Any]:
    """Of a record that can't be read, the fields that can be, by name."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except UNDECODABLE:
        return {}
    found = {}
    for field in msgspec.structs.fields(type_):
        try:
            found[field.name] = msgspec.json.decode(raw[field.encode_name], type=field.type)
        except (KeyError, *UNDECODABLE):
            continue
    return found


def shown(text: RecordText) -> str:
    """The text as it can be logged."""
    return text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
