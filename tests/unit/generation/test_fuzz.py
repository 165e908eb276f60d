"""Whatever people hand in is read or refused in words: never another error, never a hang."""

import contextlib
from collections.abc import Iterator

import pytest

from generation import preset_files
from generation.catalog import Catalog
from generation.completion import complete
from generation.metadata import KEYS, read_infotext
from generation.midjourney import NO_COUNTERPART
from generation.models import ModelKind
from generation.preset import EXAMPLES
from generation.prompt_flags import SHORT, merge, parse
from generation.prompts import attention, plain_text, schedule, take_tags
from generation.refusal import Refused
from generation.request_options import options
from generation.rules import Rules
from tests.fixtures import fuzz
from tests.unit.generation.catalogs import a_catalog, a_model

FLAGS = [f" --{name} " for name in (*options(), *SHORT, *NO_COUNTERPART, "aspect", "private")]
GRAMMAR = ["(", ")", "[", "]", ":1.2)", ":", "\\(", " cat ", "<lora:", "pixel", ":0.5>", "<lyco:x>"]
INFOTEXT = [
    *(f"{key}: " for key in (*KEYS, "Sampler", "Size", "Schedule type", "Lora hashes")),
    ", ", "\n", "Negative prompt: ", "Steps: 20, Sampler: Euler a, ", '"a: b"', '{"a": 1}',
    "512x512",
]  # fmt: skip
TOML = ["[[preset]]\n", *(f"{key} = {value}\n" for key, value in EXAMPLES.items()), "name = 'a'\n",
        "[", "]", "{", "}", "=", "'''", '"""', "[[preset.loras]]\n"]  # fmt: skip


@pytest.fixture
def catalog() -> Catalog:
    return a_catalog(a_model("demo", native_size=128), a_model("pixel", kind=ModelKind.LORA))


@contextlib.contextmanager
def refused_at_most(text: str) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if len(str(refused)) > 1000:
            raise AssertionError(f"{refused.code} repeats all of {text!r}") from None
    except Exception as error:
        raise AssertionError(f"{error!r} of {text!r}") from error


@pytest.mark.parametrize("count", fuzz.CASES)
def test_flags(count: int, catalog: Catalog) -> None:
    for text in fuzz.texts(count, [*FLAGS, *GRAMMAR[-4:], " a cat "]):
        with refused_at_most(text):
            given = merge(parse(text), {"prompt": text})
            given.pop("private", None)
            given.pop("preset", None)
            complete(given, catalog, Rules())


@pytest.mark.parametrize("count", fuzz.CASES)
def test_grammar(count: int, catalog: Catalog) -> None:
    for text in fuzz.texts(count, GRAMMAR, 80):
        assert attention(text)
        assert schedule(text, 20)[-1][0] == 20
        plain_text(text)
        with refused_at_most(text):
            take_tags(text)
        with refused_at_most(text):
            complete({"prompt": text, "negative_prompt": text[::-1]}, catalog, Rules())


@pytest.mark.parametrize("count", fuzz.CASES)
def test_generation_data(count: int) -> None:
    for text in fuzz.texts(count, INFOTEXT):
        with refused_at_most(text):
            read_infotext(text)
        with refused_at_most(text):
            parse(text)


@pytest.mark.parametrize("count", fuzz.CASES)
def test_presets(count: int) -> None:
    for text in fuzz.texts(count, TOML, 20):
        with refused_at_most(text):
            for preset in preset_files.from_toml(text):
                assert preset_files.from_toml(preset_files.to_form(preset)) == [preset]


def test_the_pieces_reach_what_they_are_for() -> None:
    """Some of the texts must be in order, or the tests above test refusals only."""
    flags = [text for text in fuzz.texts(300, FLAGS) if _reads(text)]
    data = [text for text in fuzz.texts(300, INFOTEXT) if "\0" not in text and _data(text)]
    assert data
    assert flags


def _reads(text: str) -> bool:
    try:
        return bool(parse(text).prompt)
    except Refused:
        return False


def _data(text: str) -> bool:
    try:
        return read_infotext(text) is not None
    except Refused:
        return False
