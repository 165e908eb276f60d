"""How files are told: which tensors a layout needs, may not have, and of what shapes, as data.

A pattern is a piece of a tensor's name; `^` stands for the beginning of a name and `$` for its end.
The denoiser's prefix is taken off before (`model.diffusion_model.` and its kin).
"""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from generation.models import ModelKind

Shapes = Mapping[str, tuple[int, ...]]

DENOISER_PREFIXES: Final = ("model.diffusion_model.", "control_model.", "diffusion_model.", "net.")
"""Of CompVis, ControlNet, ComfyUI and NVIDIA, before the names of a denoiser."""
ENOUGH: Final = 0.25
"""Share of its tensors with which a part counts as there, and the rest of it as missing."""

SECTIONS_FROM: Final = 20
"""Tensors of a part of another size from which on it must have all its sections."""


class TensorNames:
    """The names of a file's tensors, prepared for searching, and their shapes."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        whole = text = "\n" + "\n".join(shapes) + "\n"
        for prefix in DENOISER_PREFIXES:
            text = text.replace(f"\n{prefix}", "\n")
        self.text = text
        self.has_prefix = text != whole
        """Whether some tensors are marked as those of a denoiser."""

    def has(self, pattern: str) -> bool:
        """Whether a tensor is named so."""
        return pattern.replace("^", "\n").replace("$", "\n") in self.text

    def has_any(self, patterns: Iterable[str]) -> bool:
        """Whether one of the patterns is there."""
        return any(self.has(pattern) for pattern in patterns)

    def search(self, pattern: re.Pattern[str]) -> tuple[int, ...] | None:
        """The shape of the first tensor that an expression is found in; None for none."""
        found = pattern.search(self.text)
        return None if found is None else self._shape_at(found.start())

    def shape(self, pattern: str) -> tuple[int, ...]:
        """Of the first tensor named so; () where there is none."""
        sought = pattern.replace("^", "\n").replace("$", "\n")
        place = self.text.find(sought)
        return () if place < 0 else self._shape_at(place + sought.startswith("\n"))

    def side(self, pattern: str, axis: int) -> int:
        """Of the first tensor named so; 0 where there is none, or none of so many sides."""
        shape = self.shape(pattern)
        return shape[axis] if axis < len(shape) else 0

    def _shape_at(self, place: int) -> tuple[int, ...]:
        begin, end = self.text.rfind("\n", 0, place + 1) + 1, self.text.find("\n", place + 1)
        name = self.text[begin:end]
        for prefix in ("", *DENOISER_PREFIXES):
            if prefix + name in self.shapes:
                return self.shapes[prefix + name]
        return ()


class ShapeSide(msgspec.Struct, frozen=True):
    """One side of the first tensor of a name: the first axis is 0."""

    pattern: str
    axis: int
    sides: frozenset[int]

    def holds(self, names: TensorNames) -> bool:
        """Whether the side is one of these."""
        return names.side(self.pattern, self.axis) in self.sides


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A network within a checkpoint: how its names begin, and all of them at its published size."""

    title: str
    begins: str
    published: ShapeSide | None = None
    """By which its published size is told; a model of another size has other tensors."""
    sections: tuple[str, ...] = ()
    """How the names of its sections begin, which it has at every size."""
    tensors: tuple[str, ...] = ()
    """What it can't be loaded without, as `a.{0..3}.{weight,bias}`, behind how it begins."""
    may_have: tuple[str, ...] = ()
    """What some have beside that, and use."""
    enough: float = ENOUGH
    """Share of its tensors from which on one of a published size must have all."""

    def missing(self, names: TensorNames) -> tuple[str, ...]:
        """The tensors that it lacks; all of which begin so where none does."""
        if not any(name.startswith(self.begins) for name in names.shapes):
            return (f"{self.begins}*",)
        wanted = expanded(self.tensors)
        there = [name for name in wanted if self.begins + name in names.shapes]
        whole_size = self.published is not None and self.published.holds(names)
        if whole_size and len(there) >= self.enough * len(wanted):
            return tuple(name for name in wanted if self.begins + name not in names.shapes)
        if len(there) < SECTIONS_FROM:
            return ()
        return tuple(
            f"{section}…"
            for section in self.sections
            if not any(name.startswith(self.begins + section) for name in names.shapes)
        )

    def whole(self, names: TensorNames) -> frozenset[str]:
        """All its tensors, by their names in the file; none where its size is not a published one
        or it is not all there.
        """
        if self.published is None or not self.published.holds(names):
            return frozenset()
        wanted = frozenset(self.begins + name for name in expanded(self.tensors))
        if not wanted <= names.shapes.keys():
            return frozenset()
        return wanted | {self.begins + name for name in self.may_have}


def told_missing(part: Part, names: TensorNames) -> str:
    """What a part lacks, in words; "" where it is whole, or not there at all."""
    missing = part.missing(names)
    if not missing or missing[0].endswith("*"):
        return ""
    what = "sections" if missing[0].endswith("…") else "tensors"
    more = f" and {len(missing) - 1} more of its {what}" if len(missing) > 1 else ""
    return f"its {part.title} lacks {missing[0]}{more}"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a model is written into one file, and what such a file is."""

    kind: ModelKind | None
    """None for what is known and can't be drawn with: `what` then says what it is."""
    family: str = ""
    variant: str = ""
    what: str = ""
    """In English, as the end of a sentence that begins "It is"."""
    needs: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    sides: tuple[ShapeSide, ...] = ()
    alone: bool = False
    """Whether no tensor beside it may be marked as a denoiser's."""
    parts: tuple[Part, ...] = ()
    """What a checkpoint of one file must hold."""

    def matches(self, names: TensorNames) -> bool:
        """Whether tensors of these names are laid out so."""
        return (
            all(names.has(pattern) for pattern in self.needs)
            and not names.has_any(self.lacks)
            and not (self.alone and names.has_prefix)
            and (not self.any_of or names.has_any(self.any_of))
            and all(side.holds(names) for side in self.sides)
        )


@functools.cache
def expanded(patterns: tuple[str, ...]) -> Mapping[str, None]:
    """The names that `a.{0..3}.{weight,bias}` stands for, in order."""
    return dict.fromkeys(name for pattern in patterns for name in _names(pattern))


def _names(pattern: str) -> Iterator[str]:
    pieces = re.split(r"\{([^}]+)\}", pattern)
    choices = [[piece] if place % 2 == 0 else _choices(piece) for place, piece in enumerate(pieces)]
    return ("".join(chosen) for chosen in itertools.product(*choices))


def _choices(text: str) -> list[str]:
    found: list[str] = []
    for choice in text.split(","):
        first, dots, last = choice.partition("..")
        found += map(str, range(int(first), int(last) + 1)) if dots else [choice]
    return found
