"""What the README has people try works with the demo model: at first they have no other."""

import re
from pathlib import Path

import pytest

from generation import vocabulary
from generation.catalog import Catalog
from generation.completion import complete
from generation.models import ModelKind
from generation.rules import Rules

PROJECT = Path(__file__).resolve().parents[3]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
WRITING = (PROJECT / "docs" / "prompts.md").read_text(encoding="utf-8").replace("\\|", "|")
PROMPTS = [
    *re.findall(r"`/imagine ([^`]+)`", README),
    *re.findall(r"`([^`]+?) --", README)[:1],
    *re.findall(r'imagine "([^"]+)"', README),
    *re.findall(r"`/imagine ([^`]+)`", WRITING),
]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_examples_are_in_words_that_the_demo_knows(prompt: str) -> None:
    catalog = Catalog((PROJECT / "models",))
    await catalog.scan()
    words = vocabulary.of_model(catalog.get(ModelKind.CHECKPOINT, "demo"))
    assert words.examples
    for seed in range(10):
        request = complete({"prompt": prompt, "model": "demo", "seed": seed}, catalog, Rules())
        assert vocabulary.unknown_words(words, request.prompt) == []


def test_there_are_such_examples() -> None:
    assert len(PROMPTS) >= 10
