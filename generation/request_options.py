"""The options that people can set, read off the declaration of GenerationRequest.

Slash options, command-line flags and the checks of what was given all come from here, so that a new
field of the request is a new option everywhere.
"""

import functools
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from msgspec.inspect import (
    DictType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    UnionType,
    VarTupleType,
)

from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import RANDOM_SEED, check_text
from generation.request_parts import ControlUse, ImagePrompt, LoraUse

NUMBER_MAX: Final = 100
"""Characters of a number that somebody writes; Python itself reads no integer of 4,301 digits."""


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
    choices: tuple[str, ...] = ()
    """The words that it may be, where these are few."""
    also: Mapping[str, str] = {}
    """Other words for them."""
    alone: str = ""
    """What its flag means without a value; "" where it needs one."""
    choices_from: str = ""
    """models, vaes, loras, controlnets or samplers: where its values come from."""
    picture: bool = False
    """Whether people give it as an uploaded picture."""
    slash: bool = True
    """Whether it is one of `/imagine`'s options, and not only written."""
    random: bool = False
    """Whether RANDOM_SEED, which then is its lowest value, stands for one that is drawn."""
    needs: str = ""
    """The option without which it means nothing."""

    @property
    def switch(self) -> bool:
        """Whether its flag alone means that it is on."""
        return set(self.choices) == {"off", "on"}

    def lacks(self, there: Collection[str]) -> bool:
        """Whether of the options that are there none is the one without which it means nothing: for
        a mask, words that say what is masked will do, or a larger canvas.
        """
        if not self.needs or self.needs in there:
            return False
        return self.needs != "mask" or not {"mask_words", "extension"} & set(there)

    def parse(self, text: str) -> str | int | float:
        """The value that somebody typed; of choices the one that is meant, whatever its case, with
        hyphens for blanks. Raises Refused when it is no number but should be.
        """
        if self.choices:
            word = _folded(text)
            word = self.also.get(word, word)
            return next((known for known in self.choices if _folded(known) == word), text)
        if self.type is str:
            return text
        written = text.strip()
        if len(written) > NUMBER_MAX:
            raise Refused("number_too_long", option=self.name, high=NUMBER_MAX)
        try:
            return self.type(written)
        except ValueError:
            code = "not_a_whole_number" if self.type is int and _is_number(written) else None
            raise Refused(code or "not_a_number", option=self.name, value=written[:50]) from None

    def take(self, text: str) -> str | int | float:
        """What somebody typed, at the nearest value that the field's steps allow. Raises Refused
        for what is outside of the bounds.
        """
        value = self.parse(text)
        self._check_bounds(value)
        return self.nearest(value) if isinstance(value, int) else value

    def check(self, value: str | int | float) -> None:
        """Raise Refused, naming the bound, when a value is outside of what the field declares."""
        self._check_bounds(value)
        if self.step is not None and not isinstance(value, str) and value % self.step:
            nearest = self.nearest(round(value))
            raise Refused(
                "no_multiple", option=self.name, value=value, step=self.step, nearest=nearest
            )

    def _check_bounds(self, value: str | int | float) -> None:
        if isinstance(value, str):
            check_text(self.name, value)
            if self.choices and value not in self.choices:
                known = ", ".join(self.choices)
                raise Refused("no_choice", option=self.name, value=value[:50], known=known)
            if self.length_max is not None and len(value) > self.length_max:
                raise Refused("too_long", option=self.name, length=len(value), high=self.length_max)
            return
        low, high = self.low, self.high
        if not self.holds(value):
            code = "out_of_bounds_or_random" if self.random else "out_of_bounds"
            least = (low or 0) - (RANDOM_SEED if self.random else 0)
            raise Refused(code, option=self.name, value=value, low=least, high=high or 0)

    def holds(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        low, high = self.low, self.high
        return (low is None or value >= low) and (high is None or value <= high)

    def nearest(self, value: int) -> int:
        """The nearest whole number that the field's steps allow."""
        return value if self.step is None else round(value / self.step) * self.step


def stepped(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, each whole number at the nearest that its option's steps allow. A number
    outside of the bounds stays as it is, to be refused as that.
    """
    return {
        name: options()[name].nearest(value)
        if name in options() and isinstance(value, int) and options()[name].holds(value)
        else value
        for name, value in given.items()
    }


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
                if not _extra(inner.name, inner.type)["offered"]:
                    continue
                option = _option(inner.name, inner.type, field=field.name, item=inner.name)
                found[option.name] = option
        elif _extra(field.name, type_)["offered"]:
            option = _option(field.name, type_, field=field.name, required=field.required)
            found[option.name] = option
    return MappingProxyType(found)


@functools.cache
def defaults() -> Mapping[str, str | int | float]:
    """What holds for options that nobody sets, where that is the same for every model."""
    structs: dict[str, type[msgspec.Struct]] = {
        "": GenerationRequest,
        "loras": LoraUse,
        "controls": ControlUse,
        "image_prompts": ImagePrompt,
    }
    found: dict[str, str | int | float] = {}
    for option in options().values():
        struct = structs[option.field if option.item else ""]
        name = option.item or option.field
        default = next(f.default for f in msgspec.structs.fields(struct) if f.name == name)
        if isinstance(default, int | float) or (option.choices and isinstance(default, str)):
            found[option.name] = default
    return MappingProxyType(found)


@functools.cache
def bounds_of(struct: type[msgspec.Struct], field: str) -> Option:
    """The type and bounds that a field of numbers of any struct declares, for what people enter.

    Of a table, or a field that may be None, those of its values.
    """
    info = cast(StructType, msgspec.inspect.type_info(struct))
    declared = next(f.type for f in info.fields if f.name == field)
    python, bounds = _bounds(field, declared)
    return Option(name=field, field=field, type=python, help="", **bounds)


def exact(number: float) -> str:
    """The shortest text that is read back as the very same number; whole ones without a point."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _folded(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.strip().casefold()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _extra(name: str, declared: Any) -> dict[str, Any]:
    if not isinstance(declared, Metadata) or not declared.extra:
        raise TypeError(f"field {name} of the request declares no option()")
    return declared.extra


def _option(name: str, declared: Any, **where: Any) -> Option:
    extra = _extra(name, declared)
    python, bounds = _bounds(name, declared)
    if extra["random"]:
        bounds["low"] = RANDOM_SEED
    return Option(
        name=extra["option"] or name,
        type=python,
        help=(declared.extra_json_schema or {}).get("description", ""),
        choices_from=extra["choices_from"],
        picture=extra["picture"],
        slash=extra["slash"],
        also=extra["also"],
        alone=extra["alone"],
        random=extra["random"],
        needs=extra["needs"],
        **bounds,
        **where,
    )


def _bounds(name: str, declared: Any) -> tuple[type[str] | type[int] | type[float], dict[str, Any]]:
    """The Python type of a declaration, and its bounds as Option has them."""
    match declared:
        case Metadata():
            return _bounds(name, declared.type)
        case UnionType():
            return _bounds(name, next(t for t in declared.types if not isinstance(t, NoneType)))
        case DictType():
            return _bounds(name, declared.value_type)
        case IntType():
            bounds = {"low": declared.ge, "high": declared.le, "step": declared.multiple_of}
            return int, bounds
        case FloatType():
            return float, {"low": declared.ge, "high": declared.le}
        case LiteralType():
            return str, {"choices": tuple(map(str, declared.values))}
        case VarTupleType():
            return _bounds(name, declared.item_type)
        case StrType():
            return str, {"length_max": declared.max_length}
    raise TypeError(f"field {name} has a type that is no option's")
