"""The words that a small model knows: of its prompts, the others mean nothing to it.

A diffusers folder may hold `vocabulary.json`: an object whose tables `things`, `colours`, `sizes`,
`positions` and `styles` map words to lists of synonyms or to the phrase that prompts use, and
lists: `fillers`, known words that are not worth offering, `pairs` of things, and `examples`. The
demo model has one; models of the usual size know every word.
"""

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.models import ModelFile
from generation.prompts import plain_text
from generation.regular_files import is_text, read_regular

BYTES_MAX: Final = 2**20
TEXT_MAX: Final = 200
"""Characters of a pair."""
UNKNOWN_MAX: Final = 10
"""Words of a prompt that are named; behind these, one more says nothing new."""
GLUE: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "to",
        "with",
    ]
)
"""Words that hold others together."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Vocabulary(msgspec.Struct, frozen=True):
    """Words in the order in which they are offered, and whole prompts to begin with."""

    words: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()
    """Known, and not offered."""


def of_model(model: ModelFile) -> Vocabulary:
    """The model's vocabulary; an empty one where it does not say."""
    return _read(model.path / "vocabulary.json") if model.is_folder else Vocabulary()


def unknown_words(vocabulary: Vocabulary, prompt: str) -> list[str]:
    """The words of a prompt that the model has never seen, as they were written, each once.

    None where the model knows every word. Weights and brackets are no words; plurals are known by
    their singular.
    """
    if not vocabulary.words:
        return []
    known = _known(vocabulary)
    found: dict[str, str] = {}
    for match in _WORD.finditer(plain_text(prompt)):
        word = match[0].casefold()
        if not any(form in known for form in _forms(word)):
            found.setdefault(word, match[0][:50])
            if len(found) == UNKNOWN_MAX:
                break
    return list(found.values())


@functools.lru_cache(maxsize=8)
def _known(vocabulary: Vocabulary) -> frozenset[str]:
    texts = (*vocabulary.words, *vocabulary.examples, *vocabulary.fillers)
    return GLUE | {match[0].casefold() for text in texts for match in _WORD.finditer(text)}


def _forms(word: str) -> Iterable[str]:
    """A word and what its singular may be."""
    yield word
    for ending, singular in (("ies", "y"), ("es", ""), ("s", ""), ("'s", ""), ("’s", "")):
        if word.endswith(ending):
            yield word.removesuffix(ending) + singular


@functools.lru_cache(maxsize=8)
def _read(file: Path) -> Vocabulary:
    try:
        tables: dict[str, Any] = json.loads(read_regular(file, BYTES_MAX).decode())
        words: list[str] = []
        synonyms: list[str] = []
        for name in ("things", "colours", "sizes", "styles"):
            words += tables.get(name, {})
            for others in tables.get(name, {}).values():
                synonyms += others if isinstance(others, list) else []
        words += tables.get("positions", {}).values()
        examples = _texts(tables.get("examples", ()))
        pairs = (re.sub(r"{.*?}", "", str(pair)[:TEXT_MAX]) for pair in tables.get("pairs", ()))
        fillers = (*map(str, tables.get("fillers", ())), *pairs)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return Vocabulary()
    return Vocabulary(_texts([*words, *synonyms]), examples, _texts(fillers))


def _texts(found: Iterable[object]) -> tuple[str, ...]:
    """Each once, without what is empty or can't be shown."""
    texts = dict.fromkeys(map(str, found))
    return tuple(text for text in texts if text.strip() and is_text(text))
