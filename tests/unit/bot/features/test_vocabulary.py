"""Words offered while a prompt is typed."""

import json
from pathlib import Path

from bot.features.imagine.vocabulary import suggest
from generation.models import ModelFile, ModelKind
from generation.vocabulary import Vocabulary, of_model

TABLES = {
    "things": {"dog": ["puppy"], "cat": []},
    "colours": {"red": []},
    "positions": {"left": "on the left"},
    "pairs": ["{a} and {b}"],
    "examples": ["a dog on red"],
}


def model(folder: Path, tables: object) -> ModelFile:
    (folder / "vocabulary.json").write_text(json.dumps(tables), encoding="utf-8")
    return ModelFile(kind=ModelKind.CHECKPOINT, name="m", path=folder, family="sd1")


def test_things_come_before_their_synonyms(tmp_path: Path) -> None:
    found = of_model(model(tmp_path, TABLES))
    assert found.words == ("dog", "cat", "red", "on the left", "puppy")
    assert found.examples == ("a dog on red",)


def test_a_model_without_or_with_a_broken_one_knows_every_word(tmp_path: Path) -> None:
    assert of_model(model(tmp_path, [1, 2])) == Vocabulary()
    whole = ModelFile(kind=ModelKind.CHECKPOINT, name="m", path=tmp_path / "other", family="sd1")
    assert of_model(whole) == Vocabulary()


def test_the_last_word_is_completed() -> None:
    some = Vocabulary(("dog", "donut", "red"), ("a dog on red",))
    assert suggest(some, "") == ["a dog on red", "dog", "donut", "red"]
    assert suggest(some, "a do") == ["a do", "a dog", "a donut"]
    assert suggest(some, "red ")[:2] == ["red ", "red dog"]
    assert suggest(some, "a dog") == []
    assert suggest(Vocabulary(), "anything at all") == []
    assert suggest(some, "x" * 101) == []
