"""Prompts that are drawn together: `a beach AND a sunset :0.6`.

Each part guides the picture by itself, as strongly as its weight says, 1 where it says nothing.
A1111 splits the prompt alone so; in a negative prompt AND is a word.
"""

import re
from typing import Final

_AND: Final = re.compile(r"\bAND\b")
_WEIGHT: Final = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


def composed(prompt: str) -> list[tuple[str, float]]:
    """The parts of a prompt and their weights; one at least. What stands before a part's words is
    kept, what stands behind them is not, as in A1111.
    """
    return [_weighted(part) for part in _AND.split(prompt)]


def _weighted(part: str) -> tuple[str, float]:
    text, colon, weight = part.rpartition(":")
    if colon and _WEIGHT.fullmatch(weight.strip()):
        return text.rstrip(), float(weight)
    return part.rstrip(), 1.0
