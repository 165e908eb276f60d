"""Prompts in ComfyUI's spelling: learned words (embeddings) are called `embedding:NAME` there."""

import re
from collections.abc import Mapping
from typing import Final

from generation.embedding_uses import PIECE

MARK: Final = "embedding:"


def spelled(text: str, words: Mapping[str, str]) -> str:
    """A prompt with ComfyUI's names for the `words` that were learned, wherever CLIP's tokenizer
    finds them; the longest go first, and what is marked already stays so.
    """
    if not words:
        return text
    pieces = [(match.group().lower(), match.start(), match.end()) for match in PIECE.finditer(text)]
    named = sorted(
        ((PIECE.findall(word.lower()), name) for word, name in words.items()),
        key=lambda entry: -len(entry[0]),
    )
    found: list[str] = []
    at = done = 0
    while at < len(pieces):
        here = next((entry for entry in named if _begins(pieces, at, entry[0])), None)
        if here is None:
            at += 1
            continue
        word, name = here
        begin, end = pieces[at][1], pieces[at + len(word) - 1][2]
        at += len(word)
        before = text[done:begin]
        if before.casefold().endswith(MARK):
            before = before[: -len(MARK)]
        found += [before, _apart(before, found), MARK, name, _apart_from(text[end : end + 1])]
        done = end
    return "".join((*found, text[done:]))


def _begins(pieces: list[tuple[str, int, int]], at: int, word: list[str]) -> bool:
    return [piece for piece, _, _ in pieces[at : at + len(word)]] == word


def _apart(before: str, found: list[str]) -> str:
    """A space where ComfyUI would not see a name that has none before it."""
    last = (before or (found[-1] if found else ""))[-1:]
    return "" if last in ("", " ", "\n", "(") else " "


def _apart_from(after: str) -> str:
    return "" if after in ("", " ", "\n", ",", ":", ")") else " "


def is_spellable(name: str) -> bool:
    """Whether ComfyUI takes that for a name and for no weight."""
    return not re.search(r"[\s():,]|^[\d.]+$", name)
