"""What the catalogue shows of models."""

from bot.features.catalogue import ENTRIES, model_embed
from bot.locales import Texts
from generation.memory_words import WORDS
from generation.models import ModelKind
from tests.unit.generation.catalogs import a_model

ENGLISH = Texts("en-US")


def test_a_lora_names_its_family_and_trigger_words() -> None:
    words = tuple(f"word{n}" for n in range(20))
    embed = model_embed(
        a_model("ink *wash*", kind=ModelKind.LORA, trigger_words=words, size=3 * 2**20), ENGLISH
    )
    assert embed.title == r"ink \*wash\*"
    assert embed.description is not None
    assert "3 MiB" in embed.description
    assert "Trigger words: `word0`, `word1`" in embed.description
    assert "word8" not in embed.description


def test_a_model_that_cannot_be_run_says_so() -> None:
    flux = model_embed(a_model("big", family="hidream"), ENGLISH).description
    assert flux is not None
    assert "can't be drawn with yet" in flux
    runnable = model_embed(a_model("demo", native_size=128), ENGLISH).description
    assert runnable is not None
    assert "128 px" in runnable
    assert "can't" not in runnable


def test_a_model_that_edits_pictures_says_so() -> None:
    for model, says in (
        (a_model("k", family="flux", variant="kontext"), True),
        (a_model("d", family="flux"), False),
        (a_model("p", variant="instruct-pix2pix"), True),
        (a_model("l", kind=ModelKind.LORA, family="flux"), False),
    ):
        about = model_embed(model, ENGLISH).description
        assert about is not None
        assert ("edits pictures" in about) is says


def test_a_page_of_the_catalogue_is_a_message_that_discord_takes() -> None:
    words = tuple("a sentence that somebody wrote for a word " * 5 for _ in range(9))
    lora = a_model("x" * 300, kind=ModelKind.LORA, trigger_words=words)
    page = [model_embed(lora, Texts("en-US")) for _ in range(ENTRIES)]
    page[0].set_author(name="LoRAs, page 1000 of 1000")
    assert sum(len(embed) for embed in page) <= 6000


def test_a_model_says_how_it_runs_here() -> None:
    embed = model_embed(a_model("demo", native_size=128), ENGLISH, "Here: all on the card")
    assert embed.description is not None
    assert embed.description.splitlines()[1] == "Here: all on the card"


def test_every_plan_has_its_words() -> None:
    for code, words in WORDS.items():
        for locale in ("en-US", "zh-CN"):
            assert Texts(locale)(code)
        assert words.isprintable()
