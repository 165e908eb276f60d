"""Which words of a prompt a small model has never seen."""

import json
from pathlib import Path

import pytest

from generation import vocabulary
from generation.models import ModelFile, ModelKind
from generation.vocabulary import Vocabulary, unknown_words

DEMO = Path(__file__).resolve().parents[3] / "models" / "diffusers" / "demo"


@pytest.fixture(scope="module")
def demo() -> Vocabulary:
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=DEMO, family="sd1")
    return vocabulary._read(model.path / "vocabulary.json")


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a lighthouse at dusk", ["lighthouse", "dusk"]),
        ("a Slice of PIZZA", []),
        (r"a p()iz\za", []),
        ("a cat and two foxes next to butterflies", []),
        ("kitties, a dog's apples", []),
        ("(small rocket:1.2) on a [black] background", []),
        ("a t-rex above a jack-o-lantern, 4k, highly detailed, masterpiece", []),
        ("Zebra, zebra, (zebra:1.3) and an Okapi", ["Zebra", "Okapi"]),
        ("一只猫", ["一只猫"]),
        ("12 3.5 !!! ()", []),
        ("", []),
    ],
)
def test_words_that_the_demo_does_not_know(
    demo: Vocabulary, prompt: str, unknown: list[str]
) -> None:
    assert unknown_words(demo, prompt) == unknown


def test_every_example_and_name_of_the_demo_is_known(demo: Vocabulary) -> None:
    for text in (*demo.words, *demo.examples):
        assert unknown_words(demo, text) == []


def test_a_model_without_a_vocabulary_knows_every_word() -> None:
    assert unknown_words(Vocabulary(), "a lighthouse at dusk") == []


def test_a_long_prompt_names_few(demo: Vocabulary) -> None:
    found = unknown_words(demo, " ".join("x" * n for n in range(1, 80)))
    assert len(found) == vocabulary.UNKNOWN_MAX
    assert unknown_words(demo, "q" * 4000) == ["q" * 50]


@pytest.mark.parametrize(
    "content", [b"[1, 2]", b"{", b"\xff", b'{"things": 3}', b"[" * 100_000, b'{"pairs": 3}']
)
def test_a_file_that_is_none_knows_every_word(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "vocabulary.json"
    file.write_bytes(content)
    assert vocabulary._read(file) == Vocabulary()


def test_a_vocabulary_may_have_any_tables(tmp_path: Path) -> None:
    tables = {"things": {"dog": ["puppy"]}, "positions": {"left": "on the left"}}
    (tmp_path / "vocabulary.json").write_text(json.dumps(tables), encoding="utf-8")
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="m", path=tmp_path, family="sd1")
    found = vocabulary.of_model(model)
    assert found.words == ("dog", "on the left", "puppy")
    assert unknown_words(found, "a puppy on the left of a cat") == ["cat"]


def test_words_that_cannot_be_shown_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.json"
    words = {"things": {"\ud800": [" ", "\udfff"], "cat": []}, "examples": ["\ud800", "a cat"]}
    file.write_text(json.dumps({**words, "pairs": ["{" * 100_000]}))
    found = vocabulary._read(file)
    assert (found.words, found.examples) == (("cat",), ("a cat",))
    file.write_bytes(b" " * (vocabulary.BYTES_MAX + 1))
    vocabulary._read.cache_clear()
    assert vocabulary._read(file) == Vocabulary()
