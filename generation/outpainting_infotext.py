"""A larger canvas (outpainting) in A1111's infotext: a key of its own, written and read.

A1111's scripts for it write no more than their masks' own keys, of which nobody can tell where the
picture lay.
"""

import re
from typing import Final

import msgspec

from generation.refusal import Refused
from generation.request_parts import Extension

KEY: Final = "Outpainting"
OVERLAP: Final = "overlap"
_SIZE: Final = re.compile(r"\s*([0-9]{1,6})\s*[x×]\s*([0-9]{1,6})\s*")
_PART: Final = re.compile(rf"\s*({'|'.join((*Extension.SIDES, OVERLAP))})\s+([0-9]{{1,6}})\s*")
SHOWN: Final = 50
"""Characters of a value that can't be read."""


def written(made: Extension) -> str:
    """The old picture's size on the canvas, what is new at each side, and how deep its edge is
    drawn anew: `512x512, left 256, overlap 16`.
    """
    parts = [f"{made.width}x{made.height}"]
    parts += [f"{side} {getattr(made, side)}" for side in made.SIDES if getattr(made, side)]
    return ", ".join([*parts, f"{OVERLAP} {made.overlap}"])


def read(value: str) -> Extension:
    """What `written` wrote. Raises Refused for anything else, and what is out of bounds."""
    first, *rest = value.split(",")
    size, parts = _SIZE.fullmatch(first), [_PART.fullmatch(part) for part in rest]
    found = {part[1]: int(part[2]) for part in parts if part is not None}
    if size is not None and len(found) == len(rest):
        with_size = {"width": int(size[1]), "height": int(size[2]), **found}
        try:
            return msgspec.convert(with_size, Extension)
        except msgspec.ValidationError:
            pass
    raise Refused("infotext_value", key=KEY, value=value[:SHOWN])
