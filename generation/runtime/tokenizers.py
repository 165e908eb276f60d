"""CLIP's tokenizers: one vocabulary, and what differs from family to family beside it."""

import json
from pathlib import Path
from typing import Any, Final

import transformers

CONFIGS: Final = Path(__file__).parent / "configs"
VOCABULARY: Final = CONFIGS / "sd1" / "tokenizer"
"""Where CLIP's words lie; the other families' folders need not hold them once more."""


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a folder that may hold its settings alone.

    transformers makes one without a single word of such a folder, which reads every prompt alike.
    """
    if (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file():
        return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del settings["tokenizer_class"]
    return transformers.CLIPTokenizer.from_pretrained(VOCABULARY, local_files_only=True, **settings)
