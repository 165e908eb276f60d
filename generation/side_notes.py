"""What other programs noted beside a model: trigger words, and what it was trained on.

`NAME.civitai.info` is written by the helpers that download from Civitai, `NAME.json` by A1111's
extra-networks panel, `NAME.metadata.json` by ComfyUI's LoRA manager. None of them decides what a
file is: its tensors do.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.regular_files import read_regular

ENDINGS: Final = (".json", ".civitai.info", ".metadata.json")
"""Of those beside NAME.safetensors. What its owner wrote goes before what was downloaded."""
FILE_MAX: Final = 4 * 2**20
"""Bytes."""
WORDS_MAX: Final = 20
WORD_MAX: Final = 200
"""Characters of a word; some are a short phrase."""


class SideNotes(msgspec.Struct, frozen=True):
    """What lies beside a model."""

    trigger_words: tuple[str, ...] = ()
    base: str = ""
    """What it was trained on, as Civitai names it: "SDXL 1.0", "Pony"."""


class _Beside(msgspec.Struct):
    """Of all three kinds of files what is read of them; each may be of any type."""

    trained: Any = msgspec.field(default=None, name="trainedWords")
    activation: Any = msgspec.field(default=None, name="activation text")
    base_model: Any = msgspec.field(default=None, name="baseModel")
    base_model_of_manager: Any = msgspec.field(default=None, name="base_model")
    version: Any = msgspec.field(default=None, name="sd version")
    civitai: Any = None


_DECODER: Final = msgspec.json.Decoder(_Beside)


def read_notes(files: Iterable[Path]) -> SideNotes:
    """What they say, the first that says it. What can't be read says nothing: it is not ours."""
    words: tuple[str, ...] = ()
    base = ""
    for file in files:
        try:
            beside = _DECODER.decode(read_regular(file, FILE_MAX).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        words = words or tuple(_words(beside))[:WORDS_MAX]
        said = (beside.base_model, beside.base_model_of_manager, beside.version)
        base = base or next((text for text in said if isinstance(text, str)), "")
    return SideNotes(words, base[:WORD_MAX])


def _words(beside: _Beside) -> Iterator[str]:
    found: list[Any] = []
    if isinstance(beside.activation, str):
        found += beside.activation.split(",")
    of_manager = beside.civitai.get("trainedWords") if isinstance(beside.civitai, dict) else None
    for several in (beside.trained, of_manager):
        if isinstance(several, list) and not found:
            found += several
    seen = set()
    for word in found:
        text = word.strip().strip(",").strip() if isinstance(word, str) else ""
        if text and text.isprintable() and len(text) <= WORD_MAX and text not in seen:
            seen.add(text)
            yield text
