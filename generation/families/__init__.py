"""FAMILIES: one entry per model family: how it is recognised, loaded and what it can do."""

from typing import Final

from generation.families.family import RECOGNISED, Ability, Family, TextEncoder
from generation.families.sd import SD1, SD2

__all__ = ["FAMILIES", "RECOGNISED", "Ability", "Family", "TextEncoder"]

FAMILIES: Final[dict[str, Family]] = {"sd1": SD1, "sd2": SD2}
