"""The words that a small model knows, offered while a prompt is typed."""

from typing import Final

from generation.vocabulary import Vocabulary

SUGGESTIONS: Final = 25
TEXT_MAX: Final = 100
"""Discord's bounds on suggestions."""


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
