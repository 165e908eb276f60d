"""The options that people can set, read off the declaration of GenerationRequest.

Slash options, command-line flags and the checks of what was given all come from here, so that a new
field of the request is a new option everywhere.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec
from msgspec.inspect import (
    FloatType,
    IntType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    UnionType,
    VarTupleType,
)

from generation.refusal import Refused
from generation.request import GenerationRequest


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option: where it stands in the request, its type, help and bounds."""

    name: str
    field: str
    """The field of GenerationRequest; of its first element where `item` is set."""
    item: str = ""
    """The field of the struct inside a tuple field, such as LoraUse.weight."""
    type: type[str] | type[int] | type[float]
    help: str
    required: bool = False
    low: float | None = None
    high: float | None = None
    step: int | None = None
    length_max: int | None = None
    choices_from: str = ""
    """models, vaes, loras, controlnets or samplers: where its values come from."""
    picture: bool = False
    """Whether people give it as an uploaded picture."""

    def parse(self, text: str) -> str | int | float:
        """The value that somebody typed. Raises Refused when it is no number but should be."""
        if self.type is str:
            return text
        try:
            return self.type(text)
        except ValueError:
            raise Refused("not_a_number", option=self.name, value=text[:50]) from None

    def check(self, value: str | int | float) -> None:
        """Raise Refused, naming the bound, when a value is outside of what the field declares."""
        if isinstance(value, str):
            if self.length_max is not None and len(value) > self.length_max:
                raise Refused("too_long", option=self.name, length=len(value), high=self.length_max)
            return
        low, high = self.low, self.high
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise Refused(
                "out_of_bounds", option=self.name, value=value, low=low or 0, high=high or 0
            )
        if self.step is not None and value % self.step:
            nearest = round(value / self.step) * self.step
            raise Refused(
                "no_multiple", option=self.name, value=value, step=self.step, nearest=nearest
            )


@functools.cache
def options() -> Mapping[str, Option]:
    """Every option that is offered by name, in the order in which the request declares them."""
    info = cast(StructType, msgspec.inspect.type_info(GenerationRequest))
    found: dict[str, Option] = {}
    for field in info.fields:
        type_ = field.type
        if isinstance(type_, Metadata) and isinstance(type_.type, VarTupleType):
            if not (type_.extra or {}).get("offered", True):
                continue
            type_ = type_.type
        if isinstance(type_, VarTupleType):
            struct = cast(StructType, type_.item_type)
            for inner in struct.fields:
                option = _option(inner.name, inner.type, field=field.name, item=inner.name)
                found[option.name] = option
        elif _extra(field.name, type_)["offered"]:
            option = _option(field.name, type_, field=field.name, required=field.required)
            found[option.name] = option
    return MappingProxyType(found)


def _extra(name: str, declared: Any) -> dict[str, Any]:
    if not isinstance(declared, Metadata) or not declared.extra:
        raise TypeError(f"field {name} of the request declares no option()")
    return declared.extra


def _option(name: str, declared: Any, **where: Any) -> Option:
    extra = _extra(name, declared)
    scalar = declared.type
    if isinstance(scalar, UnionType):
        scalar = next(part for part in scalar.types if not isinstance(part, NoneType))
    python: type[str] | type[int] | type[float] = str
    bounds: dict[str, Any] = {}
    match scalar:
        case IntType():
            python = int
            bounds = {"low": scalar.ge, "high": scalar.le, "step": scalar.multiple_of}
        case FloatType():
            python = float
            bounds = {"low": scalar.ge, "high": scalar.le}
        case StrType():
            bounds = {"length_max": scalar.max_length}
        case _:
            raise TypeError(f"field {name} of the request has a type that is no option's")
    return Option(
        name=extra["option"] or name,
        type=python,
        help=(declared.extra_json_schema or {}).get("description", ""),
        choices_from=extra["choices_from"],
        picture=extra["picture"],
        **bounds,
        **where,
    )
