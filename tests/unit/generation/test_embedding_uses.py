"""Which learned words a request's prompts name."""

from pathlib import Path
from typing import Any

import pytest

from generation import embedding_uses
from generation.catalog import Catalog
from generation.completion import complete
from generation.models import UNKNOWN, ModelFile, ModelKind
from generation.refusal import Refused
from generation.rules import Rules
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

DEMO = a_model("demo", context_width=768)
LARGE = a_model("large", family="sdxl", context_width=2048)


def learned(word: str, folder: str = "", **more: Any) -> ModelFile:
    """The catalogue calls one that has the name of another by its folder, too."""
    name = f"{folder}/{word}" if folder else word
    path = Path(folder) / f"{word}.safetensors"
    return ModelFile(
        kind=ModelKind.EMBEDDING,
        name=name,
        path=path,
        **{"family": "sd1", "context_width": 768, **more},
    )


def used(catalog: Catalog, prompt: str, negative: str = "", model: ModelFile = DEMO) -> list[str]:
    request = a_request(prompt=prompt, negative_prompt=negative)
    return sorted(one.name for one in embedding_uses.of(request, model, catalog))


CATALOG = a_catalog(
    DEMO,
    LARGE,
    learned("EasyNegative"),
    learned("bad-hands-5"),
    learned("bad-hands"),
    learned("my style"),
    learned("v2", family="sd2", context_width=1024),
)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat", []),
        ("a cat, easynegative", ["EasyNegative"]),
        ("a cat, (EASYNEGATIVE:1.2)", ["EasyNegative"]),
        ("a (bad-hands-5:0.8) cat", ["bad-hands-5"]),
        ("bad-hands, bad-hands-5", ["bad-hands", "bad-hands-5"]),
        ("bad - hands", ["bad-hands"]),
        ("bad-handsome, uneasynegative", []),
        ("my  style", ["my style"]),
        ("my, style", []),
        ("a [cat:easynegative:0.5]", ["EasyNegative"]),
        ("a cat AND easynegative :0.5", ["EasyNegative"]),
        ("v2", []),
    ],
)
def test_a_name_counts_as_a_word(prompt: str, words: list[str]) -> None:
    assert used(CATALOG, prompt) == words
    if " AND " not in prompt:
        assert used(CATALOG, "a cat", prompt) == words


def test_of_two_of_one_name_the_one_that_fits_is_meant() -> None:
    catalog = a_catalog(
        LARGE, learned("fine"), learned("fine", "xl", family="sdxl", context_width=0)
    )
    request = a_request(prompt="fine art")
    (one,) = embedding_uses.of(request, LARGE, catalog)
    assert (one.name, one.family, one.path) == ("fine", "sdxl", Path("xl/fine.safetensors"))


def test_one_of_another_width_is_refused_before_it_waits() -> None:
    catalog = a_catalog(DEMO, learned("wide", family=UNKNOWN, context_width=512))
    assert complete({"prompt": "a cat"}, catalog, Rules())
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a wide cat"}, catalog, Rules())
    assert (refused.value.code, refused.value.params) == ("embedding_mismatch", {"name": "wide"})
