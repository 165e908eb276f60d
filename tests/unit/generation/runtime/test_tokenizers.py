"""CLIP's tokenizers are read once for all models that have the same; Qwen's words follow from its
merges.
"""

import json
import shutil
from pathlib import Path

import pytest

from generation.runtime import tokenizers
from generation.runtime.tokenizers import CONFIGS, VOCABULARY, load_qwen_tokenizer, load_tokenizer


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of a model that brings its tokenizer along."""
    return shutil.copytree(VOCABULARY, tmp_path / "tokenizer")


def test_what_is_alike_is_read_once(own: Path, tmp_path: Path) -> None:
    other = shutil.copytree(own, tmp_path / "another model")
    assert load_tokenizer(own) is load_tokenizer(other)
    assert load_tokenizer(CONFIGS / "sdxl" / "tokenizer_2") is not load_tokenizer(own)


def test_what_has_changed_is_read_again(own: Path) -> None:
    before = load_tokenizer(own)
    settings = own / "tokenizer_config.json"
    told = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**told, "pad_token": "!"}), encoding="utf-8")
    after = load_tokenizer(own)
    assert (before.pad_token, after.pad_token) == ("<|endoftext|>", "!")


def test_few_are_kept(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "_load", lambda *_args, **_options: object())
    monkeypatch.setattr(tokenizers, "_kept", {})
    for number in range(tokenizers.KEPT + 2):
        (own / "note.txt").write_text(str(number), encoding="utf-8")
        load_tokenizer(own)
    assert len(tokenizers._kept) == tokenizers.KEPT


def test_qwens_words_have_the_published_numbers() -> None:
    """As Qwen2.5-VL's own vocabulary has them; the marks of version 3 stand behind those."""
    tokenizer = load_qwen_tokenizer()
    text = "<|im_start|>user\nA cat, 数字 123 e\u0301t\u00e9<|im_end|>\n"
    expected = [
        *(151644, 872, 198, 32, 8251, 11, 47685, 18600, 220, 16, 17, 18, 23639),
        *(151645, 198),
    ]
    assert tokenizer(text).input_ids == expected
    assert (tokenizer.pad_token_id, len(tokenizer)) == (151643, 151665)
    assert len(tokenizer("<think>").input_ids) == 3
    assert load_qwen_tokenizer(3)("<think>").input_ids == [151667]
