"""Finding names among few and among many, and names in short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.catalog import Catalog
from generation.models import ModelKind
from generation.name_search import (
    RANKED_MAX,
    NameSearch,
    choice_of,
    is_short_of,
    nearest,
    short_name,
)
from generation.refusal import Refused
from tests.unit.generation.catalogs import a_catalog, a_model

MANY = [f"style-{number} of {number * 7919 % 100_003}" for number in range(3000)]


def test_what_holds_the_text_comes_first_and_then_what_is_alike() -> None:
    search = NameSearch(["Watercolour", "my watercolour", "Waterfall", "castle", "Pixel Art"])
    assert search.matching("", 2) == ["Watercolour", "my watercolour"]
    assert search.matching("WATER", 25) == ["Watercolour", "Waterfall", "my watercolour"]
    assert search.matching("pixl", 25) == ["Pixel Art"]
    assert search.matching("zq", 25) == []


def test_a_name_with_a_typing_error_is_found_among_many() -> None:
    search = NameSearch([*MANY, "Illustrious Ink", "ink"])
    assert search.matching("ilustrius", 25)[0] == "Illustrious Ink"
    assert search.nearest("ilustrius ink", 3)[0] == "Illustrious Ink"
    assert len(search.names) > RANKED_MAX


def test_a_name_of_a_mac_is_found_as_it_is_typed_elsewhere() -> None:
    decomposed, composed = "cafe\u0301", "café"
    assert NameSearch([decomposed]).matching(composed, 5) == [decomposed]
    catalog = a_catalog(a_model(decomposed))
    assert catalog.get(ModelKind.CHECKPOINT, composed).name == decomposed


def test_the_nearest_of_few() -> None:
    assert nearest("step", ["sampler", "steps", "seed"]) == ["steps"]
    assert nearest("anything", []) == []
    assert len(nearest("x", ["a", "b", "c", "d"], 3)) == 3
    assert nearest("Steps", ["steps", "Steps", "STEPS"]) == ["Steps"]


def test_a_text_of_any_length_is_cut_before_it_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    from rapidfuzz import process

    def extract(query: str, *args: object, **options: object) -> list[object]:
        lengths.append(len(query))
        return []

    monkeypatch.setattr(process, "extract", extract)
    catalog = a_catalog(*(a_model(name, kind=ModelKind.LORA) for name in MANY))
    with pytest.raises(Refused, match="lora_unknown") as refused:
        catalog.get(ModelKind.LORA, "q" * 6000)
    assert len(str(refused.value.params["name"])) <= 80
    catalog.names(ModelKind.LORA).matching("q" * 6000, 25)
    nearest("q" * 6000, MANY)
    assert lengths
    assert max(lengths) <= 100


def test_answers_are_kept_and_forgotten_in_time() -> None:
    search = NameSearch(MANY)
    first = search.matching("style-12", 25)
    first.clear()
    assert search.matching("style-12", 25)
    for number in range(2000):
        search.matching(str(number), 1)
    assert len(search._answers) <= 512


def test_a_long_name_is_offered_in_short_and_found_by_it() -> None:
    beginning = "a very long name of a model " * 5
    names = [f"{beginning}{ending}" for ending in ("one", "two")]
    catalog = a_catalog(*map(a_model, names), a_model(" spaces "), a_model(" "))
    offered = [choice_of(name, 100) for name in [*names, " spaces ", " "]]
    assert len(set(offered)) == 4
    for name, short in zip([*names, " spaces ", " "], offered, strict=True):
        assert 0 < len(short) <= 100
        assert short == short.strip()
        assert catalog.get(ModelKind.CHECKPOINT, short).name == name
        assert catalog.get(ModelKind.CHECKPOINT, choice_of(name, 45)).name == name
    with pytest.raises(Refused, match="checkpoint_unknown"):
        catalog.get(ModelKind.CHECKPOINT, f"{beginning[:50]}… #00000000")


@given(st.text(max_size=300), st.integers(min_value=20, max_value=120))
def test_a_short_name_is_found_by_itself_alone(name: str, most: int) -> None:
    for short in (short_name(name, most), choice_of(name, most)):
        assert len(short) <= most
        assert short == name or is_short_of(short, name)
        assert not is_short_of(short, name + "x")


def test_each_set_of_names_is_prepared_once() -> None:
    asked = []

    def keep(model: object) -> bool:
        asked.append(model)
        return True

    catalog: Catalog = a_catalog(a_model("a", kind=ModelKind.LORA))
    for _ in range(3):
        assert catalog.names(ModelKind.LORA, "key", keep).names == ("a",)
    assert len(asked) == 1
