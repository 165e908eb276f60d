"""Drafts: kept for their writer, for a week, with their pictures."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from storage.database import Database
from storage.drafts import DRAFTS_MAX, WITH_PICTURES_MAX, Draft
from storage.store import Store
from storage.tables import DraftRow
from tests.fixtures.pictures import drawn, encoded

ADA, BO = 1, 2


async def age(database: Database, by: timedelta) -> None:
    async with database.begin() as connection:
        await connection.execute(update(DraftRow).values(created_at=datetime.now(UTC) - by))


async def test_a_draft_is_its_writers_alone(store: Store) -> None:
    draft = Draft(name="edit", where=("3", "0"), values={"a": "b", "c": ["d", "e"]})
    number = await store.drafts.keep(ADA, draft)
    assert await store.drafts.get(ADA, number) == draft
    assert await store.drafts.get(BO, number) is None


async def test_what_no_database_takes_is_left_out(store: Store) -> None:
    draft = Draft(name="edit", values={"prompt": "a\0 fox\ud83d", "several": ["\0b"]})
    kept = await store.drafts.get(ADA, await store.drafts.keep(ADA, draft))
    assert kept is not None
    assert kept.values == {"prompt": "a fox", "several": ["b"]}


async def test_the_oldest_go(store: Store) -> None:
    others = await store.drafts.keep(BO, Draft(name="edit"))
    numbers = [await store.drafts.keep(ADA, Draft(name="edit")) for _ in range(DRAFTS_MAX + 2)]
    found = [await store.drafts.get(ADA, number) for number in numbers]
    assert [draft is None for draft in found] == [True] * 2 + [False] * DRAFTS_MAX
    assert await store.drafts.get(BO, others) is not None


async def test_their_pictures_stay_as_long_as_they(store: Store, database: Database) -> None:
    file = await store.jobs.keep_upload(encoded(drawn(), "PNG"))
    number = await store.drafts.keep(ADA, Draft(name="imagine", uploads={"init_picture": file}))
    await age(database, timedelta(days=6))
    await store.personal.sweep(timedelta(0))
    assert await store.drafts.get(ADA, number) is not None
    assert await store.jobs.read_upload(file)
    await age(database, timedelta(days=8))
    assert await store.personal.sweep(timedelta(0)) == 1
    assert await store.drafts.get(ADA, number) is None


async def test_they_are_taken_along_and_deleted(store: Store, tmp_path: Path) -> None:
    file = await store.jobs.keep_upload(encoded(drawn(), "PNG"))
    draft = Draft(name="imagine", values={"prompt": "a fox"}, uploads={"init_picture": file})
    number = await store.drafts.keep(ADA, draft)
    kept = await store.drafts.keep(BO, Draft(name="edit"))
    [path] = [part async for part in store.personal.export(ADA, tmp_path, max_bytes=10**6)]
    with zipfile.ZipFile(path) as exported:
        [found] = json.loads(exported.read("drafts.json"))
        assert found["values"] == {"prompt": "a fox"}
        assert exported.read(f"uploads/{file}.png") == await store.jobs.read_upload(file)
    await store.personal.delete(ADA)
    assert await store.drafts.get(ADA, number) is None
    assert await store.drafts.get(BO, kept) is not None


async def test_few_drafts_of_one_person_keep_pictures(store: Store) -> None:
    files = [await store.jobs.keep_upload(bytes([n])) for n in range(WITH_PICTURES_MAX + 1)]
    others = await store.drafts.keep(BO, Draft(name="imagine", uploads={"init_picture": files[0]}))
    numbers = [
        await store.drafts.keep(ADA, Draft(name="imagine", uploads={"init_picture": file}))
        for file in files
    ]
    await store.drafts.keep(ADA, Draft(name="edit"))  # has none, so nothing goes for it
    drafts = [await store.drafts.get(ADA, number) for number in numbers]
    kept = [draft.uploads for draft in drafts if draft is not None]
    assert kept == [{}, *({"init_picture": file} for file in files[1:])]
    assert (await store.drafts.get(BO, others)).uploads == {"init_picture": files[0]}  # type: ignore[union-attr]
