"""What lists show of models and of the bot itself, in every language."""

from datetime import UTC, datetime

import pytest

from bot import overviews
from bot.commands.catalogue import ENTRIES
from bot.locales import LOCALES, Texts
from generation.job import JobState
from generation.models import ModelKind
from storage.statistics import ModelTimes, Statistics
from tests.unit.generation.catalogs import a_model

ENGLISH = Texts("en-US")
SINCE = datetime(2026, 1, 2, tzinfo=UTC)
FOUND = Statistics(
    total={JobState.FINISHED: 40, JobState.FAILED: 2, JobState.QUEUED: 3},
    recent={JobState.CANCELLED: 1},
    times=(ModelTimes("demo", pictures=40, median=1.25, p95=2.5),),
    memory_peak=512 * 2**20,
)


def the_stats(found: Statistics, texts: Texts) -> dict[str, str]:
    """The fields of the embed by their names."""
    embed = overviews.stats(
        found,
        waiting=1,
        loaded="",
        ready=None,
        memory=(90 * 2**20, 2000 * 2**20),
        since=SINCE,
        texts=texts,
    )
    return {str(field.name): str(field.value) for field in embed.fields}


def test_the_owner_sees_jobs_times_and_memory() -> None:
    fields = the_stats(FOUND, ENGLISH)
    assert fields["Since the beginning"] == "40 finished, 2 failed, 0 cancelled"
    assert fields["Last 24 hours"] == "0 finished, 0 failed, 1 cancelled"
    assert fields["Queue"] == "one request waits"
    assert fields["Seconds a picture"] == "demo: median 1.2, 95 % within 2.5 (40 pictures)"
    assert "Bot 90 MiB, worker 2000 MiB" in fields["Memory"]
    assert "512 MiB" in fields["Memory"]
    assert fields["Started"] == f"<t:{int(SINCE.timestamp())}:R>"


@pytest.mark.parametrize("locale", LOCALES)
def test_a_bot_with_many_models_stays_within_an_embed(locale: str) -> None:
    many = tuple(ModelTimes(f"model-{n:03} " + "x" * 200, 10**6, 999.9, 999.9) for n in range(99))
    fields = the_stats(Statistics({}, {}, many, 0), Texts(locale))
    assert len(fields) == 7
    assert all(1 <= len(value) <= 1024 for value in fields.values())


def test_a_lora_names_its_family_and_trigger_words() -> None:
    words = tuple(f"word{n}" for n in range(20))
    embed = overviews.model(
        a_model("ink *wash*", kind=ModelKind.LORA, trigger_words=words, size=3 * 2**20), ENGLISH
    )
    assert embed.title == r"ink \*wash\*"
    assert embed.description is not None
    assert "3 MiB" in embed.description
    assert "Trigger words: `word0`, `word1`" in embed.description
    assert "word8" not in embed.description


def test_a_model_that_cannot_be_run_says_so() -> None:
    flux = overviews.model(a_model("big", family="flux"), ENGLISH).description
    assert flux is not None
    assert "can't be drawn with yet" in flux
    runnable = overviews.model(a_model("demo", native_size=128), ENGLISH).description
    assert runnable is not None
    assert "128 px" in runnable
    assert "can't" not in runnable


def test_a_page_of_the_catalogue_is_a_message_that_discord_takes() -> None:
    words = tuple("a sentence that somebody wrote for a word " * 5 for _ in range(9))
    lora = a_model("x" * 300, kind=ModelKind.LORA, trigger_words=words)
    page = [overviews.model(lora, Texts("en-US")) for _ in range(ENTRIES)]
    page[0].set_author(name="LoRAs, page 1000 of 1000")
    assert sum(len(embed) for embed in page) <= 6000
