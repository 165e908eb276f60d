"""The search of prompts, however the database does it."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, delete, insert, text, update

from generation.job import JobState
from storage import history, search
from storage.database import Database
from storage.history import Query
from storage.store import Store
from storage.tables import JobRow
from tests.fixtures.requests import a_request, an_origin


@pytest.fixture(autouse=True, params=[0, search.FEW], ids=["looked up", "looked through"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is found in both ways."""
    monkeypatch.setattr(search, "FEW", request.param)


async def fill(database: Database, user: int, *prompts: str) -> None:
    """Finished jobs, straight into the table."""
    rows = [
        {
            "state": JobState.FINISHED,
            "request": a_request(prompt=prompt),
            "origin": an_origin(user),
            "action": "imagine",
            "model": "demo",
            "words": prompt.casefold(),
            "user_id": user,
            "guild_id": 10,
            "attempts": 1,
            "created_at": datetime.now(UTC),
        }
        for prompt in prompts
    ]
    async with database.begin() as connection:
        await connection.execute(insert(JobRow), rows)


async def found(store: Store, looked_for: str, user: int = 1) -> list[str]:
    page = await store.history.page(user, Query(search=looked_for), limit=100)
    return [job.request.prompt for job in page.jobs]


async def test_words_are_found_anywhere_in_a_prompt(store: Store, database: Database) -> None:
    await fill(
        database, 1, "Ein GROẞER Ölbaum", "一只红色的狐狸", "100% cotton_shirt", 'so "quoted"'
    )
    assert await found(store, "ölbaum") == ["Ein GROẞER Ölbaum"]
    assert await found(store, "grosser ein") == ["Ein GROẞER Ölbaum"]
    assert await found(store, "红色") == ["一只红色的狐狸"]
    assert await found(store, "红色的 狐狸") == ["一只红色的狐狸"]
    assert await found(store, "色的狐") == ["一只红色的狐狸"]
    assert await found(store, "100%") == ["100% cotton_shirt"]
    assert await found(store, "n_s") == ["100% cotton_shirt"]
    assert await found(store, "n-s") == []
    assert await found(store, '"quoted"') == ['so "quoted"']
    assert await found(store, 'AND OR " NEAR( *') == []
    # letters of the word, but elsewhere in the prompt
    assert await found(store, "cottonshirt") == []
    assert len(await found(store, "  ")) == 4


async def test_everybody_finds_their_own(store: Store, database: Database) -> None:
    # two people whose mark in the search is the same
    await fill(database, 1, "a red fox")
    await fill(database, 1 + 20000**3, "another red fox")
    await fill(database, 2**62, "a blue fox")
    assert await found(store, "fox") == ["a red fox"]
    assert await found(store, "fox", 1 + 20000**3) == ["another red fox"]
    assert await found(store, "fox", 2**62) == ["a blue fox"]
    assert await found(store, "fox", 3) == []


async def test_pages_of_a_search_turn_both_ways(store: Store, database: Database) -> None:
    for number in range(1, 8):
        await fill(database, 1, f"fox {number}" if number % 2 else "hen")
    query = Query(search="fox")
    first = await store.history.page(1, query, limit=2)
    assert ([job.id for job in first.jobs], first.newer, first.older) == ([7, 5], False, True)
    last = await store.history.page(1, query, before=5, limit=2)
    assert ([job.id for job in last.jobs], last.newer, last.older) == ([3, 1], True, False)
    back = await store.history.page(1, query, after=3, limit=2)
    assert ([job.id for job in back.jobs], back.newer, back.older) == ([7, 5], False, True)


async def test_short_words_are_looked_for_among_the_newest(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "RECENT", 3)
    await fill(database, 1, "ox long ago", "one", "two oxen", "three ox")
    assert await found(store, "ox") == ["three ox", "two oxen"]
    # beside a longer word nothing bounds them
    assert await found(store, "ox ago") == ["ox long ago"]


async def test_a_prompt_that_changes_or_goes_is_no_longer_found(
    store: Store, database: Database
) -> None:
    await fill(database, 1, "a red fox", "a red hen")
    async with database.begin() as connection:
        await connection.execute(update(JobRow).where(JobRow.id == 1).values(words="a blue fox"))
        await connection.execute(delete(JobRow).where(JobRow.id == 2))
    assert await found(store, "red") == []
    assert await found(store, "blue") == ["a red fox"]
    await fill(database, 1, "a new hen")
    assert await found(store, "hen") == ["a new hen"]


@pytest.mark.sqlite
@pytest.mark.parametrize("few", [0], indirect=True)
async def test_a_search_goes_through_the_index(database: Database) -> None:
    await fill(database, 1, "a fox")

    def explain(connection: Connection) -> list[str]:
        statement, key = history._matching(connection, 1, Query(search="lighthouse"))
        statement = statement.order_by(key.desc()).limit(11)
        compiled = statement.compile(connection.engine, compile_kwargs={"literal_binds": True})
        return [row[-1] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]

    plan = await database.read(explain)
    assert "SCAN jobs_search VIRTUAL TABLE" in plan[0]
    assert "SEARCH jobs USING INTEGER PRIMARY KEY" in plan[1]
    assert not any("TEMP B-TREE" in line for line in plan)
