"""InvokeAI's weights as A1111 writes them: `word++`, `(some words)1.3`, `(some words)-`.

Each `+` counts 1.1 times and each `-` 0.9 times. Source: InvokeAI's documentation of prompts.
"""

import re
from typing import Final

from generation.metadata import INFOTEXT_MAX
from generation.request_options import exact

STRONGER, WEAKER = 1.1, 0.9
MARKS_MAX: Final = 20
_WEIGHED: Final = re.compile(
    r"\((?P<words>[^()]{1,1000})\)(?P<marks>[+]{1,20}|-{1,20}|\d{1,2}(?:\.\d{1,6})?)"
    r"|(?P<word>[^\s()+,-]{1,100})(?P<own>[+]{1,20}|-{1,20})(?=[\s,.;)]|$)"
)


def as_a1111(text: str) -> str:
    """The text with its weights in A1111's form; `.and()`, `.blend()` and `.swap()` stay."""
    return _WEIGHED.sub(_written, text[:INFOTEXT_MAX])


def _written(match: re.Match[str]) -> str:
    words, marks = match["words"] or match["word"], match["marks"] or match["own"]
    if marks[0] == "+":
        weight = STRONGER ** len(marks)
    elif marks[0] == "-":
        weight = WEAKER ** len(marks)
    else:
        weight = float(marks)
    return f"({words}:{exact(round(weight, 4))})"
