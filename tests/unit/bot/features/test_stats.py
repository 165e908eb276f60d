"""What the owner sees of the bot itself, in every language."""

from datetime import UTC, datetime

import pytest

from bot.features.stats import embed_of
from bot.locales import LOCALES, Texts
from generation.job import JobState
from storage.statistics import ModelTimes, Statistics

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
    embed = embed_of(
        found,
        waiting=1,
        workers=["**main**: a card"] * 60,
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
