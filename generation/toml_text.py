"""TOML that people hand in: read by the standard library, within bounds of time and depth."""

import re
import tomllib
from typing import Any, Final

NESTED_MAX: Final = 64
"""Dots and brackets in one line: reading a key of many parts takes memory by their square."""
# one that is not closed goes on to the end of its line, or each quote in it would be tried anew
_QUOTED: Final = re.compile(r'"(?:\\.|[^"\\])*+"?|\'[^\']*+\'?')


def loads(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises tomllib.TOMLDecodeError, and nothing else, whatever the text: also for what is nested too
    deep and for whole numbers of more digits than Python reads.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if sum(map(_QUOTED.sub("", line).count, ".[{")) > NESTED_MAX:
            raise tomllib.TOMLDecodeError(f"nested too deep (at line {number})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deep") from None
    except ValueError:
        raise tomllib.TOMLDecodeError("a number in it has too many digits") from None
