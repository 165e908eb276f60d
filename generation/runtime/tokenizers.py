"""Tokenizers. CLIP's: one vocabulary, and what differs from family to family beside it; T5's, of
which there is one.
"""

import base64
import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import transformers

CONFIGS: Final = Path(__file__).parent / "configs"
VOCABULARY: Final = CONFIGS / "sd1" / "tokenizer"
"""Where CLIP's words lie; the other families' folders need not hold them once more."""
T5_VOCABULARY: Final = CONFIGS / "t5" / "vocabulary.json.gz"
KEPT: Final = 8
"""Tokenizers that are kept: reading the words takes half a second, and most models have the same."""
_kept: dict[str, Any] = {}


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a folder that may hold its settings alone; one for all that are alike,
    which nobody may change.

    transformers makes one without a single word of such a folder, which reads every prompt alike.
    """
    whole = (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file()
    content = _content(folder, *(() if whole else (VOCABULARY,)))
    if content not in _kept:
        made = _load(folder, whole=whole)
        if len(_kept) == KEPT:
            del _kept[next(iter(_kept))]
        _kept[content] = made
    return _kept[content]


def _content(*folders: Path) -> str:
    """A hash of the files of some folders."""
    found = hashlib.sha256()
    for file in (file for folder in folders for file in sorted(folder.iterdir())):
        if file.is_file():
            found.update(f"{file.name} {file.stat().st_size} ".encode("utf-8", "surrogateescape"))
            found.update(file.read_bytes())
    return found.hexdigest()


def _load(folder: Path, *, whole: bool) -> Any:
    if whole:
        return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del settings["tokenizer_class"]
    return transformers.CLIPTokenizer.from_pretrained(VOCABULARY, local_files_only=True, **settings)


@functools.cache
def load_t5_tokenizer() -> Any:
    """T5's, of its pieces with their logarithmic probabilities and its table of characters."""
    found = json.loads(gzip.decompress(T5_VOCABULARY.read_bytes()))
    return transformers.T5Tokenizer(
        vocab=[(piece, score) for piece, score in found["pieces"]],
        _spm_precompiled_charsmap=base64.b64decode(found["characters"]),
    )
