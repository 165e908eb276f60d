"""Words and expressions that a server does not want in prompts."""

import functools
import math
import re
import time
import unicodedata
from collections.abc import Sequence
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
BRACES: Final = re.compile(r"{([^}]*)}")


class Blocklist:
    """Compiled entries. A plain one is found as words, whatever its case; /…/ is an expression."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._words = [_words(entry) for entry in entries if not _is_expression(entry)]
        self._expressions = [
            (entry, _expression(entry)) for entry in entries if _is_expression(entry)
        ]

    def check(self, text: str) -> None:
        """Refuse text that has an entry in it, without repeating which."""
        plain = _folded(text)
        if any(words.search(plain) for words in self._words):
            raise Refused("blocked_words")
        ends = time.monotonic() + SECONDS
        for entry, pattern in self._expressions:
            try:
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if pattern.search(plain, timeout=left):
                    raise Refused("blocked_words")
            except TimeoutError:
                # what can't be checked in time is not let through
                log.warning("a blocklist entry takes too long", entry=entry)
                raise Refused("blocklist_too_slow") from None


@functools.lru_cache(maxsize=256)
def compiled(entries: tuple[str, ...]) -> Blocklist:
    """The blocklist of these entries. Raises Refused, naming an entry that can't be one."""
    return Blocklist(entries)


def _is_expression(entry: str) -> bool:
    return len(entry) > 2 and entry.startswith("/") and entry.endswith("/")


def _expression(entry: str) -> "regex.Pattern[str]":
    _check_length(entry)
    counts = (re.findall(r"\d+", re.sub(r"\s", "", braces)) for braces in BRACES.findall(entry))
    if math.prod(max(map(int, found), default=1) or 1 for found in counts) > REPEATS_MAX:
        raise Refused("blocklist_repeats", entry=entry[:80], high=REPEATS_MAX)
    try:
        pattern = regex.compile(entry[1:-1], regex.IGNORECASE)
    except regex.error as error:
        raise Refused("blocklist_invalid", entry=entry[:80], why=str(error)) from None
    if pattern.search("", timeout=SECONDS):
        raise Refused("blocklist_matches_all", entry=entry[:80])
    return pattern


def _words(entry: str) -> "regex.Pattern[str]":
    """A word or phrase between the bounds of words."""
    _check_length(entry)
    words = [word for word in regex.split(BETWEEN, _folded(entry)) if word]
    if not words:
        raise Refused("blocklist_blank", entry=entry[:80])
    phrase = BETWEEN.join(str(regex.escape(word)) for word in words)
    before = rf"(?<!{LETTER})" if _is_letter(words[0][0]) else ""
    after = rf"(?!{LETTER})" if _is_letter(words[-1][-1]) else ""
    return regex.compile(before + phrase + after, regex.V1)


def _check_length(entry: str) -> None:
    if len(entry) > ENTRY_MAX:
        raise Refused("blocklist_too_long", entry=entry[:80], high=ENTRY_MAX)


def _is_letter(character: str) -> bool:
    return regex.match(LETTER, character, regex.V1) is not None


def _folded(text: str) -> str:
    """Compatibility forms and case folded, invisible characters gone."""
    folded = unicodedata.normalize("NFKC", INVISIBLE.sub("", text)).casefold()
    return unicodedata.normalize("NFKC", folded)
