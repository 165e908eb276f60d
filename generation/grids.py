"""Grids (A1111's X/Y/Z plot): the same request, drawn with every combination of some values."""

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from generation.name_search import nearest
from generation.refusal import Refused
from generation.request_fields import PROMPT_MAX, RANDOM_SEED, Seed, check_text
from generation.request_options import Option, exact, options

AXES_MAX: Final = 3
VALUES_MAX: Final = 100
"""Of one axis."""
REPLACED: Final = "prompt"
"""The axis that replaces words of both prompts: its first value by each of its values, as A1111's
Prompt S/R does."""
BESIDE: Final = ("aspect", "preset")
"""Axes that are no field of a request."""
LEFT_OUT: Final = frozenset(("prompt", "count", "format", "quality", "show_control"))
"""Options that are none: what they say holds for the whole grid."""
KNOWN: Final = frozenset("–—…×·“”‘’•€")
"""Signs that the font has beside Latin letters, which are those before U+0250."""
LATIN: Final = 0x250
NUMBER: Final = r"[+-]?\d{1,15}(?:\.\d{1,15})?"
RANGE: Final = re.compile(
    rf"(?P<first>{NUMBER})\s*-\s*(?P<last>{NUMBER})"
    rf"(?:\s*\(\s*(?P<step>{NUMBER})\s*\)|\s*\[\s*(?P<count>\d{{1,6}})\s*\])?"
)
"""As A1111 has them: `1-5`, `1-9 (+2)` with a step, `1-10 [4]` with a number of values."""

Text = Annotated[str, Meta(max_length=PROMPT_MAX)]


class Axis(msgspec.Struct, frozen=True):
    """One axis: the option that changes, and its values as they were written."""

    name: Text
    values: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=VALUES_MAX)]


class GridPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a grid is to be drawn of: what was given, with one seed for all, and two or three axes,
    the first from left to right, the second from top to bottom, the third one sheet a value.
    """

    prompt: Text
    given: dict[str, str | int | float | bool]
    """Options by name, beside the prompt and its flags."""
    preset: Text | None = None
    private: bool = False
    seed: Seed
    """Of all its pictures where nobody says another."""
    axes: Annotated[tuple[Axis, ...], Meta(min_length=1, max_length=AXES_MAX)]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, sheets."""
        counts = [len(axis.values) for axis in self.axes]
        columns, rows, sheets = [*counts, 1, 1][:3]
        return columns, rows, sheets

    @property
    def size(self) -> int:
        """How many pictures it has."""
        columns, rows, sheets = self.shape
        return columns * rows * sheets


class Cell(msgspec.Struct, frozen=True):
    """One picture of a grid: what its axes say, by option."""

    place: int
    """Counted from 0, row by row, sheet after sheet."""
    values: tuple[tuple[str, str], ...]
    """(axis, value) of each axis."""

    @property
    def label(self) -> str:
        """In words."""
        return " · ".join(value or "–" for _, value in self.values)


def axis_names() -> tuple[str, ...]:
    """What an axis can be."""
    named = (o.name for o in options().values() if not o.picture and o.name not in LEFT_OUT)
    return (REPLACED, *named, *BESIDE)


def axis(name: str, written: str) -> Axis:
    """An axis of what somebody wrote: its values with commas between, or a range of numbers.

    Raises Refused.
    """
    known = axis_names()
    wanted = name.strip().casefold().replace("-", "_").replace(" ", "_")
    if wanted not in known:
        [alike] = nearest(wanted, known)
        raise Refused("axis_unknown", axis=name[:50], nearest=alike)
    check_text(wanted, written)
    option = options().get(wanted)
    number = option is not None and option.type is not str and wanted != REPLACED
    values = [
        text for part in _parts(written) for text in _expanded(part, option if number else None)
    ]
    if not values or all(value == "" for value in values):
        raise Refused("axis_empty", axis=wanted)
    if len(values) > VALUES_MAX:
        raise Refused("axis_long", axis=wanted, count=len(values), high=VALUES_MAX)
    if wanted == REPLACED and len(values) < 2:
        raise Refused("axis_replaces", value=values[0][:50])
    for number_, value in enumerate(values):
        if value in values[:number_]:
            raise Refused("axis_twice", axis=wanted, value=value[:50])
    return Axis(wanted, tuple(values))


def _parts(written: str) -> list[str]:
    """Values with commas between; in double quotes a value may have commas itself."""
    text = written.replace("\r", " ").replace("\n", ",")
    try:
        [row] = csv.reader([text], skipinitialspace=True, strict=True) if text.strip() else [[]]
    except csv.Error:
        raise Refused("axis_quotes") from None
    return [value.strip() for value in row]


def _expanded(part: str, option: Option | None) -> Iterator[str]:
    """The numbers of a range, of an option that is a number; of anything else itself."""
    found = RANGE.fullmatch(part) if option is not None else None
    if found is None or option is None:
        if option is not None and part:
            option.parse(part)  # what is no number is said now
        yield part
        return
    first, last = float(found["first"]), float(found["last"])
    if found["count"] is not None:
        count = int(found["count"])
        if not 1 <= count <= VALUES_MAX:
            raise Refused("axis_long", axis=option.name, count=count, high=VALUES_MAX)
        step = 0.0 if count == 1 else (last - first) / (count - 1)
    else:
        step = abs(float(found["step"] or 1)) or 1.0
        step = -step if last < first else step
        count = int((last - first) / step + 1e-6) + 1
        if count > VALUES_MAX:
            raise Refused("axis_long", axis=option.name, count=count, high=VALUES_MAX)
    for number in range(count):
        value = first + step * number
        yield str(round(value)) if option.type is int else exact(round(value, 6))


def cells(plan: GridPlan) -> list[Cell]:
    """All pictures of a grid, in their places."""
    named = [[(axis.name, value) for value in axis.values] for axis in plan.axes]
    # the first axis changes fastest
    every = itertools.product(*reversed(named))
    return [Cell(place, tuple(reversed(values))) for place, values in enumerate(every)]


def given_of(
    plan: GridPlan, cell: Cell, base: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """The options of one picture over those of all, and its preset. Raises Refused."""
    given, preset = {**base, "count": 1}, plan.preset
    if given.get("seed", RANDOM_SEED) == RANDOM_SEED:
        given["seed"] = plan.seed
    for name, value in cell.values:
        if name == REPLACED:
            _replace(given, plan, value)
        elif name == "preset":
            preset = value or None
        elif name == "aspect":
            given = {key: kept for key, kept in given.items() if key not in ("width", "height")}
            given["aspect"] = value
        else:
            if name in ("width", "height"):
                given.pop("aspect", None)
            if value == "":
                given.pop(name, None)
            else:
                given[name] = options()[name].parse(value)
    if given.get("variation_strength") and given.get("variation_seed", RANDOM_SEED) == RANDOM_SEED:
        given["variation_seed"] = plan.seed + 1
    return given, preset


def _replace(given: dict[str, Any], plan: GridPlan, value: str) -> None:
    """Words of the prompts, by A1111's rule: in both, wherever they stand."""
    wanted = next(axis.values[0] for axis in plan.axes if axis.name == REPLACED)
    texts = {name: str(given[name]) for name in ("prompt", "negative_prompt") if name in given}
    if not any(wanted in text for text in texts.values()):
        raise Refused("axis_not_in_prompt", value=wanted[:80])
    given |= {name: text.replace(wanted, value) for name, text in texts.items()}


def in_order_of(cells: Sequence[Cell], models: Sequence[str]) -> list[int]:
    """The places of cells in the order in which they are best drawn: those of one checkpoint after
    each other; `models` are those of the cells.
    """
    first = {model: place for place, model in reversed(list(enumerate(models)))}
    return sorted(range(len(cells)), key=lambda place: (first[models[place]], place))


class GridLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Where what stands. Places count row by row, sheet after sheet."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    sheets: tuple[str, ...]
    """Labels; "" where there is nothing to tell apart."""
    places: tuple[int, ...]
    """Those of the pictures that are given."""
    marks: dict[int, str] = {}
    """What stands in place of a picture that is not."""
    side: int
    """Pixels of the longer side, at most."""
    quality: int
    """Of the WebP."""


def writable(label: str) -> bool:
    """Whether the font has every sign of it."""
    return all(ord(sign) < LATIN or sign in KNOWN for sign in label)
