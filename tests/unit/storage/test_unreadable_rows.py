"""Rows that can't be decoded: each is in its own way only."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from generation.job import Failure, Job, JobState
from generation.preset import Preset
from generation.refusal import Refused
from storage.database import Database
from storage.drafts import Draft
from storage.history import Query
from storage.jobs import JobStore
from storage.pictures import PictureFiles
from storage.settings import GuildSettings, PersonSettings
from storage.store import Store
from tests.databases import ON_SERVER
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture

BROKEN: dict[str, str] = {
    "request is no JSON": "request = '{'",
    "request is empty": "request = ''",
    "request is a list": "request = '[]'",
    "request nests too deeply": f"request = '{'[' * 100_000}'",
    "request is out of bounds": "request = replace(request, '\"steps\":4', '\"steps\":-4')",
    "request has a field of a later version": "request = '{\"future\":1}'",
    "origin is no JSON": "origin = 'x'",
    "origin lacks the person": "origin = '{}'",
    "time is far outside the calendar": f"created_at = {2**62}",
}
ONLY_SQLITE = {
    "request is a number": "request = 7",
    "request is bytes": "request = x'ff00'",
    "request is text that is no UTF-8": "request = CAST(x'ff7b7d' AS TEXT)",
    "origin is text that is no UTF-8": "origin = CAST(x'ff7b7d' AS TEXT)",
    "action is text that is no UTF-8": "action = CAST(x'ff7b7d' AS TEXT)",
    "action is bytes": "action = x'ff'",
    "parent is text": "parent_id = NULL, parent_picture = 'x'",
    "time is text": "created_at = 'yesterday'",
}
ALL = BROKEN if ON_SERVER else BROKEN | ONLY_SQLITE


async def damage(database: Database, job: Job, change: str) -> None:
    async with database.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE jobs SET {change} WHERE id = {job.id}")


async def drawn(store: Store, **request: Any) -> Job:
    job = await store.jobs.add(a_request(**request), an_origin())
    await store.jobs.claim(job.id)
    await store.jobs.add_picture(job.id, a_picture(), b"png")
    return await store.jobs.finish(job.id, MAKING)


async def state_of(database: Database, job: Job) -> str:
    async with database.connect() as connection:
        statement = text(f"SELECT state FROM jobs WHERE id = {job.id}")
        return str((await connection.execute(statement)).scalar_one())


async def test_those_that_wait_fail_and_the_others_are_drawn(
    database: Database, jobs: JobStore
) -> None:
    whole = []
    for kind, broken in ALL.items():
        damaged = await jobs.add(a_request(), an_origin())
        claimed = await jobs.add(a_request(), an_origin())
        whole.append((await jobs.add(a_request(), an_origin())).id)
        await damage(database, damaged, broken)
        assert [job.id for job in await jobs.waiting()][-2:] == [claimed.id, whole[-1]], kind
        assert await state_of(database, damaged) == "failed", kind
        await damage(database, claimed, broken)
        assert await jobs.claim(claimed.id) is None, kind
        assert await state_of(database, claimed) == "failed", kind
    assert [job.id for job in await jobs.waiting()] == whole
    assert await jobs.count_waiting(1) == len(whole)
    assert await jobs.claim(whole[0]) is not None


async def test_those_that_ran_fail_at_the_next_start(database: Database, jobs: JobStore) -> None:
    damaged: list[Job] = []
    whole: list[Job] = []
    for broken in ALL.values():
        for jobs_of_a_kind in (damaged, whole):
            jobs_of_a_kind.append(await jobs.add(a_request(), an_origin()))
            await jobs.claim(jobs_of_a_kind[-1].id)
        await damage(database, damaged[-1], broken)
    assert [job.id for job in await jobs.recover()] == [job.id for job in whole]
    assert {await state_of(database, job) for job in damaged} == {"failed"}


@pytest.mark.slow
async def test_those_in_a_history_are_left_out(
    database: Database, store: Store, tmp_path: Path
) -> None:
    whole = []
    for kind, broken in ALL.items():
        whole.append((await drawn(store, prompt="a fox")).id)
        damaged = await drawn(store, prompt="a fox")
        await damage(database, damaged, broken)
        for query in (Query(), Query(search="fox"), Query(model="demo")):
            page = await store.history.page(1, query, limit=100)
            assert [job.id for job in page.jobs] == whole[::-1], kind
        assert await store.jobs.get(damaged.id) is None, kind
        assert [job.id for _, job in await store.history.tree(damaged.id)] == [], kind
        await store.jobs.add_message(damaged.id, 6, damaged.id, "result")
        assert await store.jobs.shown_by(damaged.id) is None, kind
    assert len(await store.jobs.measurements()) == len(whole)
    ago = datetime.now(UTC) - timedelta(hours=1)
    assert (await store.statistics.since(ago)).total == {JobState.FINISHED: 2 * len(whole)}
    parts = [part async for part in store.personal.export(1, tmp_path, max_bytes=1_000_000)]
    assert len(parts) == 1
    assert (await store.personal.delete(1)).jobs == 2 * len(whole)


async def test_whoever_can_be_told_is(database: Database, jobs: JobStore) -> None:
    request, origin, whole = [
        await jobs.add(a_request(prompt="A Fox"), an_origin(n)) for n in range(1, 4)
    ]
    await damage(database, request, "request = '{'")
    await damage(database, origin, "origin = '{'")
    await jobs.cancel_waiting(whole.id)
    await jobs.waiting()
    told, other = await jobs.undelivered()
    assert (told.id, told.origin.user_id, told.state) == (request.id, 1, JobState.FAILED)
    assert told.failure == Failure("record_unreadable")
    assert told.request.prompt == "a fox"
    assert other.id == whole.id
    # where nobody can be told, it is not tried again at every start
    async with database.connect() as connection:
        statement = text(f"SELECT delivered_at FROM jobs WHERE id = {origin.id}")
        assert (await connection.execute(statement)).scalar_one() is not None


async def test_a_finished_one_whose_request_is_lost_is_told_as_failed(
    database: Database, store: Store
) -> None:
    job = await drawn(store)
    await damage(database, job, "request = '{'")
    (told,) = await store.jobs.undelivered()
    assert (told.state, told.failure) == (JobState.FAILED, Failure("record_unreadable"))


async def test_what_a_job_can_do_without_is_left_out(database: Database, store: Store) -> None:
    job, failed = await drawn(store), await store.jobs.add(a_request(), an_origin())
    await store.jobs.fail(failed.id, Failure("internal_error"))
    await damage(database, job, "provenance = '{'")
    await damage(database, failed, "failure = '{'")
    found, other = await store.jobs.get(job.id), await store.jobs.get(failed.id)
    assert found is not None
    assert other is not None
    assert (found.provenance, other.failure) == (None, Failure("record_unreadable"))
    assert await store.jobs.measurements() == []


@pytest.mark.sqlite
async def test_a_picture_that_can_not_be_read_is_left_out(database: Database, store: Store) -> None:
    job = await store.jobs.add(a_request(count=2), an_origin())
    await store.jobs.claim(job.id)
    for index in range(2):
        await store.jobs.add_picture(job.id, a_picture(index), b"png")
    async with database.begin() as connection:
        await connection.execute(text("UPDATE pictures SET width = 'wide' WHERE position = 0"))
    found = await store.jobs.get(job.id)
    assert found is not None
    assert [picture.index for picture in found.pictures] == [1]


async def test_a_search_that_can_not_be_read_is_gone(database: Database, store: Store) -> None:
    number = await store.history.keep_query(1, Query(search="fox"))
    async with database.begin() as connection:
        await connection.execute(text("UPDATE history_queries SET query = '{'"))
    assert await store.history.query(number, 1) is None


TEXTS = ["'{'", "''", "'[]'", "'7'", "'\"x\"'", f"'{'[' * 100_000}'"]
if not ON_SERVER:
    TEXTS += ["7", "x'ff00'", "CAST(x'ff7b7d' AS TEXT)"]


async def spoil(database: Database, change: str) -> None:
    async with database.begin() as connection:
        await connection.exec_driver_sql(change)


async def texts(database: Database, statement: str) -> list[Any]:
    async with database.connect() as connection:
        return list((await connection.execute(text(statement))).scalars())


@pytest.mark.parametrize("broken", TEXTS, ids=range(len(TEXTS)))
async def test_settings_are_the_defaults_until_somebody_sets_them(
    database: Database, tmp_path: Path, broken: str
) -> None:
    before = Store(database, PictureFiles(tmp_path))
    await before.settings.change_guild(5, quota=3)
    await before.settings.change_guild(6, quota=4)
    await before.settings.change_person(5, private=True)
    await spoil(database, f'UPDATE settings SET "values" = {broken} WHERE id = 5')
    store = Store(database, PictureFiles(tmp_path))
    with capture_logs() as logged:
        for _ in range(2):
            assert await store.settings.guild(5) == GuildSettings()
            assert await store.settings.person(5) == PersonSettings()
    assert [(line["log_level"], line["scope"]) for line in logged] == [
        ("error", "guild"),
        ("error", "person"),
    ]
    # what changes nothing leaves it as it is, and so does what is written beside it
    as_it_is = (
        'SELECT "values" FROM settings ORDER BY scope, id'
        if ON_SERVER
        else 'SELECT CAST("values" AS BLOB) FROM settings ORDER BY scope, id'
    )
    kept = await texts(database, as_it_is)
    await store.settings.change_guild(5, lambda now: now)
    await store.presets.write(5, Preset(name="fox"))
    await store.own_presets.write(5, Preset(name="fox"))
    assert await texts(database, as_it_is) == kept
    with capture_logs() as logged:
        await store.settings.change_guild(5, quota=7)
        await store.settings.change_person(5, ping=True)
    assert ["was" in line for line in logged] == [True, True]
    assert await store.settings.guild(5) == GuildSettings(quota=7)
    assert await store.settings.person(5) == PersonSettings(ping=True)
    assert (await store.settings.guild(6)).quota == 4


async def test_of_settings_out_of_bounds_the_others_hold(
    database: Database, tmp_path: Path
) -> None:
    before = Store(database, PictureFiles(tmp_path))
    await before.settings.change_guild(5, quota=3, blocklist=("cat",), channel_presets={7: "x"})
    await spoil(
        database, 'UPDATE settings SET "values" = replace("values", \'"quota":3\', \'"quota":0\')'
    )
    store = Store(database, PictureFiles(tmp_path))
    left = GuildSettings(blocklist=("cat",), channel_presets={7: "x"})
    assert await store.settings.guild(5) == left
    with capture_logs() as logged:
        await store.settings.change_guild(5, spoiler=True)
    assert '"quota":0' in logged[0]["was"]
    assert (await store.settings.guild(5)).blocklist == ("cat",)


@pytest.mark.parametrize("broken", TEXTS, ids=range(len(TEXTS)))
async def test_one_persons_settings_stop_nobody_from_renaming_presets(
    database: Database, store: Store, broken: str
) -> None:
    await store.presets.write(5, Preset(name="fox"))
    await store.presets.set_own_default(1, 5, "fox")
    await store.presets.set_own_default(2, 5, "fox")
    await spoil(
        database, f"UPDATE settings SET \"values\" = {broken} WHERE id = 1 AND scope = 'person'"
    )
    own = 'UPDATE settings SET "values" = \'{{"default_preset":"fox"{}\' WHERE id = 1'
    for more in ("", ',"language":7}'):
        await store.presets.change(5, "fox", lambda now: Preset(name="vixen"))
        assert (await store.settings.person(2)).default_preset == "vixen"
        await store.presets.change(5, "vixen", lambda now: Preset(name="fox"))
        await spoil(database, own.format(more))
    store.settings.forget([("person", 1)])
    await store.presets.delete(5, "fox")
    assert (await store.settings.person(2)).default_preset is None
    assert (await store.settings.person(1)).default_preset is None


@pytest.mark.parametrize("kind", ["presets", "own_presets"])
@pytest.mark.parametrize("broken", TEXTS, ids=range(len(TEXTS)))
async def test_a_preset_is_left_out_until_its_name_is_used_again(
    database: Database, store: Store, kind: str, broken: str
) -> None:
    presets = store.presets if kind == "presets" else store.own_presets
    for name in ("bear", "Fox", "wolf"):
        await presets.write(1, Preset(name=name))
    spoilt = f"UPDATE presets SET preset = {broken} WHERE key = 'fox'"
    await spoil(database, spoilt)
    with capture_logs() as logged:
        for _ in range(2):
            assert [preset.name for preset in await presets.all_of(1)] == ["bear", "wolf"]
    assert [line["log_level"] for line in logged] == ["error"]
    assert await presets.find(1, "fox") is None
    with pytest.raises(Refused, match="preset_unknown"):
        await presets.get(1, "fox")
    await presets.change(1, "bear", lambda now: Preset(name="Bear", steps=4))
    assert len(await texts(database, "SELECT key FROM presets")) == 3
    # written anew, by another's new name, from a file, deleted
    with capture_logs() as logged:
        await presets.write(1, Preset(name="fox", steps=3))
    assert ["was" in line for line in logged] == [True]
    assert (await presets.get(1, "FOX")).steps == 3
    await spoil(database, spoilt)
    await presets.change(1, "wolf", lambda now: Preset(name="fox"))
    assert [preset.name for preset in await presets.all_of(1)] == ["Bear", "fox"]
    await spoil(database, spoilt)
    await presets.put_many(1, [Preset(name="fox", steps=5)], replace=True)
    assert (await presets.get(1, "fox")).steps == 5
    await spoil(database, spoilt)
    await presets.delete(1, "fox")
    assert await texts(database, "SELECT key FROM presets WHERE deleted_at IS NULL") == ["bear"]


async def test_the_roles_of_a_preset_out_of_bounds_hold_for_what_was_drawn_with_it(
    database: Database, store: Store
) -> None:
    await store.presets.write(5, Preset(name="fox", steps=3, roles=(9,)))
    number = (await store.presets.kept(5, "fox")).id
    await spoil(
        database, "UPDATE presets SET preset = replace(preset, '\"steps\":3', '\"steps\":-3')"
    )
    assert await store.presets.used(5, number) == Preset(name="fox", roles=(9,))
    await spoil(database, "UPDATE presets SET preset = '{'")
    assert await store.presets.used(5, number) == Preset(name="fox")


@pytest.mark.parametrize("broken", TEXTS, ids=range(len(TEXTS)))
async def test_drafts_and_searches_are_gone_and_an_export_has_them_as_they_are(
    database: Database, store: Store, tmp_path: Path, broken: str
) -> None:
    draft = await store.drafts.keep(1, Draft(name="imagine"))
    search = await store.history.keep_query(1, Query(search="fox"))
    await store.own_presets.write(1, Preset(name="fox"))
    await store.settings.change_person(1, private=True)
    for column in ("drafts SET draft", "history_queries SET query", "presets SET preset"):
        await spoil(database, f"UPDATE {column} = {broken}")
    await spoil(database, f'UPDATE settings SET "values" = {broken}')
    whole = await store.drafts.keep(1, Draft(name="imagine"))
    await store.own_presets.write(1, Preset(name="wolf"))
    assert await store.drafts.get(1, draft) is None
    assert await store.drafts.get(1, whole) == Draft(name="imagine")
    assert await store.history.query(search, 1) is None
    (part,) = [part async for part in store.personal.export(1, tmp_path, max_bytes=1_000_000)]
    with zipfile.ZipFile(part) as archive:
        assert len(json.loads(archive.read("drafts.json"))) == 2
        assert len(json.loads(archive.read("searches.json"))) == 1
        assert 'name = "wolf"' in archive.read("presets.toml").decode()
    await store.personal.delete(1)
