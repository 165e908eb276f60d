"""Words and expressions that a server does not want in prompts."""

import functools
import itertools
import math
import re
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import regex
import structlog

from generation.refusal import Refused

log = structlog.get_logger(__name__)

SECONDS: Final = 0.05
"""For all expressions together; a person waits for it, and the bot's event loop too."""
ENTRY_MAX: Final = 500
REPEATS_MAX: Final = 1000
"""A repeat is written out when it is compiled: `(a{9999}){9999}` would fill the memory."""
INVISIBLE: Final = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]+")
"""Characters that show nothing, by which a word could be taken apart."""
LETTER: Final = (
    r"[\w--[_\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]"
)
"""What a word can't go on with; scripts that set no spaces between words have no such bounds."""
BETWEEN: Final = r"[\s_-]+"
"""Between the words of a phrase: tags are written with underscores as often as with spaces."""
ATOMS: Final = regex.compile(rf"{LETTER}+|{BETWEEN}|.", regex.V1 | regex.DOTALL)
"""What words and phrases are made of: they are found where the same atoms follow each other."""
FIRST_ATOM: Final = 0x10000
"""The character that stands for the first known atom; no text needs a million of them."""
UNKNOWN: Final = "\0"
GAP: Final = " "
RECURSION: Final = re.compile(r"(?<!\\)(?:\\\\)*\(\?(?:R|[+-]?[0-9]|&|P>)")
"""Expressions that call themselves may never come to an end."""
BRACES: Final = re.compile(r"{([^}]*)}")


class Blocklist:
    """Compiled entries. A plain one is found as words, whatever its case; /…/ is an expression."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._atoms: dict[str, str] = {}
        phrases = [_atoms_of(entry) for entry in entries if not _is_expression(entry)]
        for atom in itertools.chain.from_iterable(phrases):
            self._atoms.setdefault(atom, chr(FIRST_ATOM + len(self._atoms)))
        self._phrases = list(dict.fromkeys(map(self._written, phrases)))
        ends = time.monotonic() + SECONDS
        self._expressions = [
            (entry, _expression(entry, ends)) for entry in entries if _is_expression(entry)
        ]

    def _written(self, atoms: Iterable[str]) -> str:
        """A character for each atom, so that whole words are looked for as characters are."""
        return "".join(self._atoms.get(atom, UNKNOWN) for atom in atoms)

    def check(self, text: str) -> None:
        """Refuse text that has an entry in it, without repeating which.

        Others go on meanwhile where this runs in a thread.
        """
        plain = _folded(text)
        if self._phrases:
            written = self._written(_atoms(plain))
            if any(phrase in written for phrase in self._phrases):
                raise Refused("blocked_words")
        ends = time.monotonic() + SECONDS
        for entry, pattern in self._expressions:
            try:
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if pattern.search(plain, timeout=left, concurrent=True):
                    raise Refused("blocked_words")
            except (TimeoutError, MemoryError):
                # what can't be checked in time is not let through
                log.warning("a blocklist entry takes too long", entry=entry)
                raise Refused("blocklist_too_slow") from None


@functools.lru_cache(maxsize=256)
def compiled(entries: tuple[str, ...]) -> Blocklist:
    """The blocklist of these entries. Raises Refused, naming an entry that can't be one."""
    return Blocklist(entries)


def _is_expression(entry: str) -> bool:
    return len(entry) > 2 and entry.startswith("/") and entry.endswith("/")


def _expression(entry: str, ends: float) -> "regex.Pattern[str]":
    _check_length(entry)
    counts = (re.findall(r"\d+", re.sub(r"\s", "", braces)) for braces in BRACES.findall(entry))
    if math.prod(max(map(int, found), default=1) or 1 for found in counts) > REPEATS_MAX:
        raise Refused("blocklist_repeats", entry=entry[:80], high=REPEATS_MAX)
    if RECURSION.search(entry):
        raise Refused("blocklist_recursion", entry=entry[:80])
    try:
        pattern = regex.compile(entry[1:-1], regex.IGNORECASE)
    except (regex.error, ValueError, OverflowError) as error:
        raise Refused("blocklist_invalid", entry=entry[:80], why=str(error)) from None
    except (RecursionError, MemoryError):
        raise Refused("blocklist_too_deep", entry=entry[:80]) from None
    try:
        if pattern.search("", timeout=max(0.001, ends - time.monotonic()), concurrent=True):
            raise Refused("blocklist_matches_all", entry=entry[:80])
    except (TimeoutError, MemoryError):
        raise Refused("blocklist_too_deep", entry=entry[:80]) from None
    return pattern


def _atoms_of(entry: str) -> list[str]:
    """The atoms of a word or phrase."""
    _check_length(entry)
    atoms = _atoms(_folded(entry))
    first, last = (1 if atoms[:1] == [GAP] else 0), (-1 if atoms[-1:] == [GAP] else None)
    if not atoms[first:last]:
        raise Refused("blocklist_blank", entry=entry[:80])
    return atoms[first:last]


def _atoms(plain: str) -> list[str]:
    """The words, single signs and gaps of folded text; all gaps are alike."""
    return [GAP if atom[0] in "_-" or atom[0].isspace() else atom for atom in ATOMS.findall(plain)]


def _check_length(entry: str) -> None:
    if len(entry) > ENTRY_MAX:
        raise Refused("blocklist_too_long", entry=entry[:80], high=ENTRY_MAX)


def _folded(text: str) -> str:
    """Compatibility forms and case folded, invisible characters gone."""
    folded = unicodedata.normalize("NFKC", INVISIBLE.sub("", text)).casefold()
    return unicodedata.normalize("NFKC", folded)
