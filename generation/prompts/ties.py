"""Which changes stay where a prompt can be read in two ways.

In `[a:b:3]](` the closing brackets without a partner can take the one before them along, and then
`[a:b:3` is words. Which reading A1111 takes, no rule says: it is what its parser, lark's for
ambiguous grammars, comes to first. So the same one is asked here, about the few prompts that it
matters for; it takes hundredths of a second for them and can take minutes for others.
"""

import functools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import lark

GRAMMAR: Final = r"""
!start: (said | /[][():]/+)*
said: (emphasis | change | turns | words | SPACE)*
!emphasis: "(" said ")" | "(" said ":" said ")" | "[" said "]"
change: "[" [said ":"] said ":" [SPACE] NUMBER "]"
turns: "[" said ("|" said)+ "]"
SPACE: /\s+/
words: /([^\\\[\]():|]|\\.)+/
%import common.SIGNED_NUMBER -> NUMBER
"""
SIGNS_MAX: Final = 60
"""Brackets and colons in a prompt that is asked about; it is as good as never that one has more
and a bracket too many, and then the changes stay."""
_SIGN: Final = re.compile(r"[][():]")
_DOUBTFUL: Final = re.compile(r"[0-9.]\][][():]")
"""A change, and behind it what could take its end along."""


def in_doubt(prompt: str) -> bool:
    """Whether a change could be words; only where brackets lack their partner it is."""
    return _DOUBTFUL.search(prompt) is not None and len(_SIGN.findall(prompt)) <= SIGNS_MAX


def changes(prompt: str) -> frozenset[int]:
    """Where the changes end that stay: the positions of their closing brackets."""
    numbers = _parser().parse(prompt).scan_values(_is_number)
    return frozenset(number.end_pos for number in numbers if number.end_pos is not None)


def _is_number(value: object) -> bool:
    return getattr(value, "type", None) == "NUMBER"


@functools.cache
def _parser() -> "lark.Lark":
    # few prompts need it, and it takes its time to load
    from lark import Lark

    return Lark(GRAMMAR)
