"""How fast a database answers that has seen years: 1,000,000 pictures of 250,000 jobs.

    python -m benchmarks.history [--jobs 250000] [--samples 400] [--keep FILE] [--only WORD]

Fills a SQLite database (four pictures a job, 1,000 people, one of whom has a fifth of all jobs) and
times what the bot asks of it, through its own store. The baseline is the same question in the same
run without the indexes for it, and for searches without the table of trigrams. With --keep the
database stays in FILE, and a later run begins with it. --only asks the questions with that word
alone, without a baseline.
"""

import argparse
import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Select

from generation.job import Failure, Origin, Provenance
from generation.request import GenerationRequest
from storage import search
from storage.database import Database, open_database, sqlite_url
from storage.history import Query
from storage.intake import AskingLimits
from storage.pictures import PictureFiles
from storage.store import Store
from storage.tables import JobRow

PEOPLE = 1000
PICTURES = 4
BUSIEST, BUSIEST_SHARE = 10**18, 0.2
GUILD = 2 * 10**18
FIRST_MESSAGE = 3 * 10**18
MODELS = ("demo", "photographic", "painterly", "line art", "isometric")
PRESETS = (None, None, None, None, "night", "portrait")
CHUNK = 5000
NEW_INDEXES = (
    "jobs_by_user_state",
    "jobs_by_user_model",
    "jobs_by_user_preset",
    "jobs_by_preset",
    "jobs_by_quota",
    "jobs_by_time",
    "jobs_undelivered",
)
COMMON = ("a", "of", "the", "with", "light", "dark", "red", "blue", "old", "city", "forest", "sea")
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]
BASELINE_SAMPLES = 40


class Row(NamedTuple):
    """One question: what it is called, how it is asked, and its target in ms at the 99th."""

    name: str
    ask: Callable[[], Awaitable[object]]
    target: float | None


async def main() -> int:
    """Fill, measure, print the table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=250_000)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = arguments.keep or Path(folder) / "history.sqlite3"
        url = sqlite_url(file)
        await (await open_database(url)).dispose()
        begun = time.perf_counter()
        added = await asyncio.to_thread(fill, file, arguments.jobs)
        if added:
            print(f"filled with {added} jobs in {time.perf_counter() - begun:.0f} s")
        print(f"{file.stat().st_size / 2**20:.0f} MiB")
        database = await open_database(url)
        measured = await measure(database, Path(folder), arguments)
        baseline = {}
        if not arguments.only:
            baseline = await without_indexes(database, file, Path(folder), arguments)
        await database.dispose()
    return report(measured, baseline)


def report(
    measured: dict[str, tuple[list[float], float | None]],
    baseline: dict[str, tuple[list[float], float | None]],
) -> int:
    """The table; 1 where a target is missed."""
    print(
        f"{'question':<34}{'p50 ms':>9}{'p99':>9}{'target':>9}{'before p50':>12}{'p99':>9}"
        f"{'p50 ratio':>11}"
    )
    missed = []
    for name, (times, target) in measured.items():
        p99 = percentile(times, 99)
        line = f"{name:<34}{percentile(times, 50):>9.2f}{p99:>9.2f}"
        line += f"{f'{target:.0f}' if target else '':>9}"
        if name in baseline:
            before = baseline[name][0]
            ratio = percentile(times, 50) / percentile(before, 50)
            line += f"{percentile(before, 50):>12.2f}{percentile(before, 99):>9.2f}{ratio:>11.3f}"
        print(line)
        if target is not None and p99 > target:
            missed.append(name)
    print(f"\nEvery target is met{' but: ' + ', '.join(missed) if missed else '.'}")
    return int(bool(missed))


def percentile(times: list[float], share: int) -> float:
    """The value below which that share of the times lie."""
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1]


async def measure(
    database: Database, folder: Path, arguments: argparse.Namespace, *, samples: int = 0
) -> dict[str, tuple[list[float], float | None]]:
    """Milliseconds and target by question."""
    store = Store(database, PictureFiles(folder))
    found: dict[str, tuple[list[float], float | None]] = {}
    for row in questions(store, arguments.jobs):
        if arguments.only not in row.name:
            continue
        times = []
        for number in range(10 + (samples or arguments.samples)):
            begun = time.perf_counter()
            await row.ask()
            if number >= 10:  # the first prepare their statements
                times.append((time.perf_counter() - begun) * 1000)
        found[row.name] = (times, row.target)
    return found


async def without_indexes(
    database: Database, file: Path, folder: Path, arguments: argparse.Namespace
) -> dict[str, tuple[list[float], float | None]]:
    """The same with nothing but what the first schema had."""
    matching = search.matching
    await asyncio.to_thread(drop_indexes, file)
    await database.dispose()  # its connections know the old schema
    search.matching = plain_matching
    try:
        return await measure(database, folder, arguments, samples=BASELINE_SAMPLES)
    finally:
        search.matching = matching
        async with database.begin() as connection:
            await connection.run_sync(create_indexes)


def plain_matching(
    statement: Select[Any], connection: Connection, user_id: int, search: str
) -> tuple[Select[Any], Any]:
    """A search through all of somebody's prompts."""
    for word in search.casefold().split():
        statement = statement.where(JobRow.words.contains(word, autoescape=True))
    return statement, None


def drop_indexes(file: Path) -> None:
    """Take the indexes away that are measured."""
    connection = sqlite3.connect(file)
    with connection:
        for name in NEW_INDEXES:
            connection.execute(f"DROP INDEX IF EXISTS {name}")
    connection.close()


def create_indexes(connection: Any) -> None:
    """Have them all again."""
    for index in JobRow.__table__.indexes:  # type: ignore[attr-defined]
        index.create(connection, checkfirst=True)


def questions(store: Store, jobs: int) -> list[Row]:
    """What the bot asks, each time for somebody else."""
    dice = random.Random(1)

    def who() -> int:
        return somebody(dice)

    def rare() -> str:
        return "".join(dice.choice(SYLLABLES) for _ in range(3))

    def page(query: Callable[[], Query], **more: Any) -> Callable[[], Awaitable[object]]:
        return lambda: store.history.page(who(), query(), **more)

    day_ago = datetime.now(UTC) - timedelta(days=1)
    return [
        Row("history page, newest", page(Query), 5),
        Row("history page, half-way", page(Query, before=jobs // 2), 5),
        Row("history page of a model", page(lambda: Query(model=dice.choice(MODELS))), 5),
        Row("history page of a preset", page(lambda: Query(preset="night")), 5),
        Row("history page of favourites", page(lambda: Query(favourites=True)), 5),
        Row("search, a common word", page(lambda: Query(search="forest")), 5),
        Row("search, a rare word", page(lambda: Query(search=rare()[:6])), 5),
        Row("search, two words", page(lambda: Query(search=f"city {rare()[:4]}")), 5),
        Row("search, nothing found", page(lambda: Query(search="xylophone qqq")), 5),
        Row("search, two letters", page(lambda: Query(search="of")), 5),
        Row("search, two letters, not found", page(lambda: Query(search="qq")), 5),
        Row("models of a person", lambda: store.history.models(who()), 5),
        Row(
            "reaction look-up",
            lambda: store.jobs.shown_by(FIRST_MESSAGE + dice.randrange(1, jobs)),
            2,
        ),
        Row("quota", lambda: store.usage.count_since(who(), GUILD, day_ago), 1),
        Row("waiting count", lambda: store.jobs.count_waiting(who()), 1),
        Row("undelivered", store.jobs.undelivered, 5),
        Row("measurements", store.jobs.measurements, None),
        Row("statistics", lambda: store.statistics.since(day_ago), None),
        Row("a request written", lambda: add(store, who()), None),
    ]


async def add(store: Store, user: int) -> None:
    """A request with limits, gone again."""
    origin = Origin(user_id=user, user_name="ada", guild_id=GUILD, channel_id=7)
    limits = AskingLimits(waiting=10_000, pictures=100_000)
    job = await store.jobs.add(request_of(random.Random(3)), origin, limits=limits)
    await store.personal.delete_job(job.id)


# filling


def somebody(dice: random.Random) -> int:
    """One of 1,000 people, of whom one has a fifth of all jobs."""
    return BUSIEST if dice.random() < BUSIEST_SHARE else BUSIEST + dice.randrange(1, PEOPLE)


def fill(file: Path, jobs: int, whose: Callable[[random.Random], int] = somebody) -> int:
    """Fill the database up to so many jobs; returns how many were added."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    there = int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0])
    dice = random.Random(there)
    for start in range(there, jobs, CHUNK):
        with connection:
            ids = range(start + 1, min(start + CHUNK, jobs) + 1)
            insert(connection, dice, ids, jobs, whose)
    with connection:
        for index in JobRow.__table__.indexes:  # type: ignore[attr-defined]
            if index.name in NEW_INDEXES:
                where = index.dialect_options["sqlite"]["where"]
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS {index.name} ON jobs"
                    f" ({', '.join(column.name for column in index.columns)})"
                    + ("" if where is None else f" WHERE {where}")
                )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return max(0, jobs - there)


def insert(
    connection: sqlite3.Connection,
    dice: random.Random,
    ids: range,
    jobs: int,
    whose: Callable[[random.Random], int],
) -> None:
    """Some jobs with their pictures, messages and stars."""
    now = time.time()
    year = 365 * 86400
    rows, pictures, messages, stars = [], [], [], []
    provenance = msgspec.json.encode(
        Provenance(
            seconds=4.2,
            seconds_loading=0.1,
            batch_size=4,
            memory_peak=5 * 2**30,
            hashes={"checkpoint:demo": "ab" * 32, "vae:demo": "cd" * 32},
            versions=dict.fromkeys(("torch", "diffusers", "transformers"), "2.13.0"),
            device="NVIDIA GeForce RTX 4090",
        )
    ).decode()
    for number in ids:
        user = whose(dice)
        request = request_of(dice)
        when = round((now - year * (1 - number / jobs)) * 1_000_000)
        chance = dice.random()
        state = "finished" if chance < 0.97 else "failed" if chance < 0.99 else "cancelled"
        if number > jobs - 100:
            state = "queued"
        ended = when + 5_000_000 if state != "queued" else None
        origin = Origin(user_id=user, user_name="somebody", guild_id=GUILD, channel_id=7)
        failure = None if state != "failed" else msgspec.json.encode(Failure("out_of_memory"))
        rows.append(
            (
                *(number, state, msgspec.json.encode(request).decode()),
                *(msgspec.json.encode(origin).decode(), "imagine", dice.choice(PRESETS)),
                *(request.model, request.prompt, request.count, user, GUILD, 7, 1, when),
                *(ended, ended, failure and failure.decode()),
                provenance if state == "finished" else None,
            )
        )
        if state != "finished":
            continue
        for position in range(PICTURES):
            file = f"{number * PICTURES + position:064x}"
            pictures.append((number, position, position, 1024, 1024, file, file))
        messages.append((FIRST_MESSAGE + number, 7, number, "result", when))
        if dice.random() < 0.02:
            stars.append((user, number, 0, when))
    connection.executemany(
        "INSERT INTO jobs (id, state, request, origin, action, preset, model, words, image_count,"
        " user_id, guild_id, channel_id, attempts, created_at, ended_at, delivered_at, failure,"
        f" provenance) VALUES ({', '.join('?' * 18)})",
        rows,
    )
    connection.executemany(
        "INSERT INTO pictures (job_id, position, seed, width, height, file, pixels_sha256)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        pictures,
    )
    connection.executemany(
        "INSERT INTO messages (message_id, channel_id, job_id, kind, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        messages,
    )
    connection.executemany("INSERT INTO favourites VALUES (?, ?, ?, ?)", stars)


def request_of(dice: random.Random) -> GenerationRequest:
    """A prompt of a dozen words, some in every other prompt and some in few."""
    words = [dice.choice(COMMON) for _ in range(6)]
    words += ["".join(dice.choice(SYLLABLES) for _ in range(3)) for _ in range(6)]
    dice.shuffle(words)
    return GenerationRequest(
        prompt=" ".join(words),
        negative_prompt="blurry, low quality",
        model=dice.choice(MODELS),
        width=1024,
        height=1024,
        steps=25,
        guidance_scale=6.5,
        sampler="DPM++ 2M",
        seed=dice.randrange(2**32),
        count=PICTURES,
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
