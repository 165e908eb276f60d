"""What other programs noted beside a model: trigger words, what it was trained on, what its version
is called, and the hashes that Civitai has of it.

`NAME.civitai.info` is written by the helpers that download from Civitai, `NAME.json` by A1111's
extra-networks panel, `NAME.metadata.json` by ComfyUI's LoRA manager. None of them decides what a
file is: its tensors do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
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
    titles: tuple[str, ...] = ()
    """What its model, its version and its file are called there."""
    hashes: tuple[str, ...] = ()
    """Digits of hashes of the file: SHA-256, and Civitai's AutoV1 to AutoV3."""


class _Beside(msgspec.Struct):
    """Of all three kinds of files what is read of them; each may be of any type."""

    trained: Any = msgspec.field(default=None, name="trainedWords")
    activation: Any = msgspec.field(default=None, name="activation text")
    base_model: Any = msgspec.field(default=None, name="baseModel")
    base_model_of_manager: Any = msgspec.field(default=None, name="base_model")
    version: Any = msgspec.field(default=None, name="sd version")
    civitai: Any = None
    version_name: Any = msgspec.field(default=None, name="name")
    model: Any = None
    model_name: Any = None
    files: Any = None
    sha256: Any = None


_DECODER: Final = msgspec.json.Decoder(_Beside)


HASHES: Final = ("SHA256", "AutoV1", "AutoV2", "AutoV3")
NEAR: Final = 2048
"""Bytes by which a file may differ from the KiB that Civitai has of it."""
_DIGITS: Final = re.compile(r"[0-9a-f]{8,64}")


def read_notes(files: Iterable[Path], size: int = 0) -> SideNotes:
    """What they say of a file of so many bytes, the first that says it. What can't be read says
    nothing: it is not ours.
    """
    words: tuple[str, ...] = ()
    titles: list[str] = []
    hashes: list[str] = []
    base = ""
    for file in files:
        try:
            beside = _DECODER.decode(read_regular(file, FILE_MAX).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        words = words or tuple(_words(beside))[:WORDS_MAX]
        said = (beside.base_model, beside.base_model_of_manager, beside.version)
        base = base or next((text for text in said if isinstance(text, str)), "")
        about = beside.civitai if isinstance(beside.civitai, dict) else {}
        titles += _titles(beside, about)
        hashes += _hashes(beside, about, size)
    return SideNotes(
        words, base[:WORD_MAX], tuple(dict.fromkeys(titles)), tuple(dict.fromkeys(hashes))
    )


def _titles(beside: _Beside, about: Mapping[str, Any]) -> Iterator[str]:
    models = (beside.model, about.get("model"))
    named = [one.get("name") for one in models if isinstance(one, dict)]
    for text in (*named, beside.model_name, beside.version_name, about.get("name")):
        if isinstance(text, str) and text.strip():
            yield text.strip()[:WORD_MAX]


def _hashes(beside: _Beside, about: Mapping[str, Any], size: int) -> Iterator[str]:
    """Of those files of Civitai's version that are as large: one of another size is another."""
    found: list[Any] = [beside.sha256]
    for files in (beside.files, about.get("files")):
        for one in files if isinstance(files, list) else ():
            own = one.get("hashes") if isinstance(one, dict) else None
            kib = one.get("sizeKB") if isinstance(one, dict) else None
            if isinstance(own, dict) and isinstance(kib, int | float):
                found += [own.get(name) for name in HASHES if abs(kib * 1024 - size) <= NEAR]
    for each in found:
        digits = each.strip().casefold() if isinstance(each, str) else ""
        if _DIGITS.fullmatch(digits):
            yield digits


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
