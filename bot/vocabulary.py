"""The words that a small model knows, offered while a prompt is typed.

A diffusers folder may hold `vocabulary.json`: an object whose tables `things`, `colours`, `sizes`,
`positions` and `styles` map words to lists of synonyms or to the phrase that prompts use, and a
list of `examples`. The demo model has one; models of the usual size know every word.
"""

import functools
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.models import ModelFile

SUGGESTIONS: Final = 25
TEXT_MAX: Final = 100
"""Discord's bounds on suggestions."""


class Vocabulary(msgspec.Struct, frozen=True):
    """Words in the order in which they are offered, and whole prompts to begin with."""

    words: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def of_model(model: ModelFile) -> Vocabulary:
    """The model's vocabulary; an empty one where it does not say."""
    return _read(model.path / "vocabulary.json") if model.is_folder else Vocabulary()


def suggest(vocabulary: Vocabulary, typed: str) -> list[str]:
    """What was typed, then what it becomes with its last word completed, or with one more.

    Nothing where there is nothing to add: a choice that is what was typed would only cost the
    person another press of Enter.
    """
    if not typed.strip():
        texts = [*vocabulary.examples, *vocabulary.words]
    else:
        cut = max(typed.rfind(" "), typed.rfind(",")) + 1
        begun, last = typed[:cut], typed[cut:].casefold()
        fitting = [word for word in vocabulary.words if word.startswith(last) and word != last]
        texts = [typed, *(begun + word for word in fitting)] if fitting else []
    return [text for text in dict.fromkeys(texts) if len(text) <= TEXT_MAX][:SUGGESTIONS]


@functools.lru_cache(maxsize=8)
def _read(file: Path) -> Vocabulary:
    try:
        tables: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        words: list[str] = []
        synonyms: list[str] = []
        for name in ("things", "colours", "sizes", "styles"):
            words += tables.get(name, {})
            for others in tables.get(name, {}).values():
                synonyms += others if isinstance(others, list) else []
        words += tables.get("positions", {}).values()
        examples = tuple(map(str, tables.get("examples", ())))
    except (OSError, ValueError, AttributeError, TypeError):
        return Vocabulary()
    return Vocabulary(tuple(dict.fromkeys([*words, *synonyms])), examples)
