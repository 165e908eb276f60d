"""Tokenizers. CLIP's: one vocabulary, and what differs from family to family beside it; T5's, of
which there is one; Qwen's, whose words are the same from version 2 to 3.
"""

import base64
import functools
import gzip
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any, Final

import transformers
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel

CONFIGS: Final = Path(__file__).parent / "configs"
VOCABULARY: Final = CONFIGS / "sd1" / "tokenizer"
"""Where CLIP's words lie; the other families' folders need not hold them once more."""
T5_VOCABULARY: Final = CONFIGS / "t5" / "vocabulary.json.gz"
QWEN_MERGES: Final = CONFIGS / "qwen2" / "merges.txt.xz"
QWEN_MARKS: Final = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
"""What no text is read as, in order behind the words."""
QWEN_TAGS: Final = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
QWEN_3_TAGS: Final = ("<tool_response>", "</tool_response>", "<think>", "</think>")
"""Behind those; of version 3 alone."""
KEPT: Final = 8
"""Tokenizers that are kept: reading the words takes half a second, and most models share them."""
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


@functools.cache
def load_qwen_tokenizer(version: int = 2) -> Any:
    """That of Qwen2.5, or of version 3, which has four marks more.

    Its words follow from its merges: the symbols of the bytes, and one for each merge.
    """
    text = lzma.decompress(QWEN_MERGES.read_bytes()).decode("utf-8")
    merges = [tuple(line.split(" ")) for line in text.splitlines()]
    words = [*sorted(ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    found = transformers.Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=merges,
    )
    found.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in QWEN_MARKS])
    tags = QWEN_TAGS + (QWEN_3_TAGS if version == 3 else ())
    found.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    return found
