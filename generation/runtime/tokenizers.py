"""Tokenizers. CLIP's: one vocabulary, and what differs from family to family beside it; T5's, of
which there is one.
"""

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any, Final

import transformers

CONFIGS: Final = Path(__file__).parent / "configs"
VOCABULARY: Final = CONFIGS / "sd1" / "tokenizer"
"""Where CLIP's words lie; the other families' folders need not hold them once more."""
T5_VOCABULARY: Final = CONFIGS / "t5" / "vocabulary.json.gz"


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a folder that may hold its settings alone.

    transformers makes one without a single word of such a folder, which reads every prompt alike.
    """
    if (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file():
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
