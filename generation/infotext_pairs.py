"""`Steps: 20, Sampler: Euler, …`: how infotexts write keys and values, and lists of them in one."""

import json
import re
from typing import Final

import msgspec

_KEY: Final = re.compile(r"\s*+([A-Za-z][^:,\"\n]{0,80}):[ ]?")
_VALUE: Final = re.compile(
    r"""[ ]*+(?P<quoted>"(?:\\.|[^"\\])*+")\s*+(?=,|$) | \{[^{}]*+\} | [^,]*+""",
    re.VERBOSE | re.DOTALL,
)

_ENDS: Final = re.compile(r"\s*+(?:,|$)")
"""What stands behind a whole value."""


def quoted(value: str) -> str:
    """A value that could be read as more than one is a JSON string, as A1111 writes it."""
    if any(mark in value for mark in ",:\n\r") or value != value.strip() or value[:1] in '"{':
        return msgspec.json.encode(value).decode()
    return value


def pairs(line: str, signs: frozenset[str] = frozenset()) -> dict[str, str]:
    """Values by key; nothing where the first key is none of `signs`, if there are some."""
    found: dict[str, str] = {}
    at, key = 0, ""
    while at < len(line):
        named = _KEY.match(line, at)
        if named is not None:
            key, at = named[1].strip(), named.end()
        if not found and signs and key not in signs:
            return {}
        if named is not None and (end := _json_end(line, at)):
            found[key] = line[at:end].strip()
            at = line.find(",", end) + 1 or len(line)
            continue
        value = _VALUE.match(line, at)
        assert value is not None  # it matches nothing, too
        if named is not None:
            found[key] = _unquoted(value["quoted"]) if value["quoted"] else value[0].strip()
        at = line.find(",", value.end()) + 1 or len(line)
    return found


def _json_end(line: str, at: int) -> int:
    """Where the list or object of JSON ends that a value is as a whole; 0 where it is none."""
    start = at + len(line[at : at + 2]) - len(line[at : at + 2].lstrip(" "))
    if line[start : start + 2] not in ("[{", '{"', "{}", "[]"):
        return 0
    try:
        end = json.JSONDecoder().raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return 0
    # a name may begin like one
    return end if _ENDS.match(line, end) else 0


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
