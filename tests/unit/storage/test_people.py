"""Settings, presets, history and personal data on a real SQLite file."""

import asyncio
import json
import os
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from generation.job import Job, PresetUse
from generation.preset import Preset
from generation.refusal import Refused
from storage import personal_data
from storage.history import Query
from storage.personal_data import CHUNK
from storage.pictures import PictureFiles
from storage.settings import GuildSettings, PersonSettings
from storage.store import Store
from storage.tables import JobRow
from tests.fixtures.requests import a_request, an_origin
from tests.unit.storage.test_jobs import MAKING, a_picture


async def drawn(store: Store, user: int = 1, png: bytes = b"png", **changes: object) -> Job:
    """A finished job with one picture."""
    more = {name: changes.pop(name) for name in ("parent", "preset") if name in changes}
    job = await store.jobs.add(a_request(**changes), an_origin(user), **more)  # type: ignore[arg-type]
    assert await store.jobs.claim(job.id) is not None
    await store.jobs.add_picture(job.id, a_picture(), png)
    return await store.jobs.finish(job.id, MAKING)


# settings


async def test_settings_are_kept_and_checked(store: Store) -> None:
    assert await store.settings.guild(5) == GuildSettings()
    changed = await store.settings.change_guild(
        5, quota=20, channels=(1, 2), weight_by_role={7: 2.0}, channel_presets={2**60: "night"}
    )
    assert changed.channel_presets == {2**60: "night"}
    again = Store(store.jobs._database, PictureFiles(Path("unused")))
    assert await again.settings.guild(5) == changed
    assert await again.settings.guild(6) == GuildSettings()
    with pytest.raises(Refused, match="setting_wrong"):
        await store.settings.change_guild(5, quota=0)
    with pytest.raises(Refused, match="setting_wrong"):
        await store.settings.change_guild(5, press="nobody")
    assert await store.settings.guild(5) == changed
    assert (await store.settings.change_guild(5, quota=None)).quota is None
    await store.settings.change_person(9, private=True)
    assert await store.settings.person(9) == PersonSettings(private=True)
    # the same number may be a server's and a person's
    assert await store.settings.guild(9) == GuildSettings()


async def test_changes_at_the_same_time_all_hold(store: Store) -> None:
    changes = {"quota": 3, "waiting": 4, "spoiler": True, "press": "owner", "language": "zh-CN"}
    await asyncio.gather(
        *(store.settings.change_guild(5, **{name: value}) for name, value in changes.items())
    )
    expected = GuildSettings(**changes)  # type: ignore[arg-type]
    assert await store.settings.guild(5) == expected
    again = Store(store.jobs._database, PictureFiles(Path("unused")))
    assert await again.settings.guild(5) == expected


async def test_what_is_at_hand_is_never_older_than_a_change(store: Store) -> None:
    for quota in range(1, 20):
        cold = Store(store.jobs._database, PictureFiles(Path("unused"))).settings
        await asyncio.gather(cold.guild(5), cold.change_guild(5, quota=quota), cold.guild(5))
        assert (await cold.guild(5)).quota == quota


async def test_a_notice_is_new_once(store: Store) -> None:
    assert await store.settings.notice(1, "a")
    assert not await store.settings.notice(1, "a")
    assert await store.settings.notice(2, "a")


# presets


async def test_presets_are_found_whatever_their_case(store: Store) -> None:
    await store.presets.write(5, Preset(name="Night Sky", steps=4))
    assert (await store.presets.get(5, "night sky")).steps == 4
    with pytest.raises(Refused, match="Night Sky"):
        await store.presets.get(5, "nigt")
    with pytest.raises(Refused, match="preset_taken"):
        await store.presets.write(5, Preset(name="NIGHT SKY"))
    with pytest.raises(Refused, match="preset_unknown"):
        await store.presets.get(6, "night sky")


async def test_a_preset_is_renamed_but_not_over_another(store: Store) -> None:
    await store.presets.write(5, Preset(name="a", steps=1))
    await store.presets.write(5, Preset(name="b", steps=2))
    await store.presets.write(5, Preset(name="c", steps=1), was="a")
    assert [preset.name for preset in await store.presets.all_of(5)] == ["b", "c"]
    with pytest.raises(Refused, match="preset_taken"):
        await store.presets.write(5, Preset(name="b"), was="c")
    assert [preset.name for preset in await store.presets.all_of(5)] == ["b", "c"]


async def test_one_of_two_who_take_a_name_is_refused(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.presets.write(5, Preset(name="a", steps=steps)) for steps in range(1, 6)),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert len(refused) == 4
    assert {outcome.code for outcome in refused if isinstance(outcome, Refused)} == {"preset_taken"}
    assert len(await store.presets.all_of(5)) == 1


async def test_an_import_is_whole_or_nothing(store: Store) -> None:
    await store.presets.write(5, Preset(name="b", steps=1))
    new = [Preset(name="a"), Preset(name="B", steps=2)]
    with pytest.raises(Refused, match="preset_taken"):
        await store.presets.put_many(5, new)
    assert [preset.name for preset in await store.presets.all_of(5)] == ["b"]
    await store.presets.put_many(5, new, replace=True)
    assert [preset.steps for preset in await store.presets.all_of(5)] == [None, 2]


async def test_starters_are_given_once(store: Store) -> None:
    await store.presets.ensure_starters(5, [Preset(name="demo")])
    await store.presets.delete(5, "demo")
    again = Store(store.jobs._database, PictureFiles(Path("unused")))
    await again.presets.ensure_starters(5, [Preset(name="demo")])
    assert await again.presets.all_of(5) == []


# history


def ids(jobs: object) -> list[int]:
    return [job.id for job in jobs]  # type: ignore[attr-defined]


async def test_pages_are_newest_first_and_turn_both_ways(store: Store) -> None:
    for _ in range(5):
        await drawn(store)
    await drawn(store, user=2)
    await store.jobs.add(a_request(), an_origin())  # not finished
    first = await store.history.page(1, Query(), limit=2)
    assert (ids(first.jobs), first.newer, first.older) == ([5, 4], False, True)
    second = await store.history.page(1, Query(), before=4, limit=2)
    assert (ids(second.jobs), second.newer, second.older) == ([3, 2], True, True)
    last = await store.history.page(1, Query(), before=2, limit=2)
    assert (ids(last.jobs), last.newer, last.older) == ([1], True, False)
    back = await store.history.page(1, Query(), after=1, limit=2)
    assert (ids(back.jobs), back.newer, back.older) == ([3, 2], True, True)
    back = await store.history.page(1, Query(), after=3, limit=2)
    assert (ids(back.jobs), back.newer, back.older) == ([5, 4], False, True)


async def test_search_knows_every_script_and_no_wildcards(store: Store) -> None:
    await drawn(store, prompt="Ein GROẞER Ölbaum")
    await drawn(store, prompt="一只红色的狐狸")
    await drawn(store, prompt="100% cotton_shirt")

    async def found(search: str) -> list[int]:
        return ids((await store.history.page(1, Query(search=search))).jobs)

    assert await found("ölbaum") == [1]
    assert await found("grosser") == [1]
    assert await found("红色") == [2]
    assert await found("100%") == [3]
    assert await found("0% cotton_s") == [3]
    assert await found("cotton-shirt") == []
    assert await found("%") == [3]


async def test_filters(store: Store) -> None:
    await drawn(store, preset=PresetUse("night"))
    await drawn(store, model="other")
    await store.history.set_favourite(1, 2, 0, True)
    await store.history.set_favourite(2, 1, 0, True)

    async def found(**query: object) -> list[int]:
        return ids((await store.history.page(1, Query(**query))).jobs)  # type: ignore[arg-type]

    assert await found(preset="night") == [1]
    assert await found(model="other") == [2]
    assert await found(favourites=True) == [2]
    assert await store.history.models(1) == ["demo", "other"]
    await store.history.set_favourite(1, 2, 0, False)
    assert await found(favourites=True) == []


async def test_the_family_from_any_member(store: Store) -> None:
    for parent in (None, 1, 1, 2, 4):
        await drawn(store, parent=parent)
    await drawn(store)
    family = [(0, 1), (1, 2), (2, 4), (3, 5), (1, 3)]
    for member in range(1, 6):
        tree = await store.history.tree(member)
        assert [(depth, job.id) for depth, job in tree] == family
    assert [job.id for _, job in await store.history.tree(6)] == [6]


async def test_searches_are_their_owners(store: Store) -> None:
    number = await store.history.keep_query(1, Query(search="fox"))
    assert await store.history.query(number, 1) == Query(search="fox")
    assert await store.history.query(number, 2) is None


# personal data


async def test_an_export_is_cut_into_parts(store: Store, tmp_path: Path) -> None:
    for number in range(4):
        await drawn(store, png=bytes([number]) * 4000)
    await drawn(store, user=2)
    await store.history.set_favourite(1, 2, 0, True)
    parts = [part async for part in store.personal.export(1, tmp_path, max_bytes=15_000)]
    assert len(parts) > 1
    names = []
    for part in parts:
        assert part.stat().st_size <= 15_000
        with zipfile.ZipFile(part) as archive:
            assert archive.testzip() is None
            names += archive.namelist()
    assert sum(name.endswith(".png") for name in names) == 4
    jobs: list[Any] = []
    for part in parts:
        with zipfile.ZipFile(part) as archive:
            for name in archive.namelist():
                jobs += json.loads(archive.read(name)) if name.startswith("jobs") else []
    with zipfile.ZipFile(parts[0]) as archive:
        assert json.loads(archive.read("favourites.json")) == [{"job": 2, "picture": 1}]
    assert [job["id"] for job in jobs] == [1, 2, 3, 4]
    assert all(job["origin"]["interaction"] is None for job in jobs)


async def test_no_part_is_too_large_whatever_is_in_it(store: Store, tmp_path: Path) -> None:
    """A picture larger than a part is cut; many jobs fill several files of JSON."""
    large = bytes(range(256)) * 100
    await drawn(store, png=large)
    upload = await store.jobs.keep_upload(b"handed in")
    for _ in range(20):
        await drawn(store, init_picture=upload)
    await store.history.keep_query(1, Query(search="fox"))
    parts = [part async for part in store.personal.export(1, tmp_path, max_bytes=9_000)]
    files: dict[str, bytes] = {}
    for part in parts:
        assert part.stat().st_size <= 9_000
        with zipfile.ZipFile(part) as archive:
            files |= {name: archive.read(name) for name in archive.namelist()}
    pieces = sorted(name for name in files if name.startswith("pictures/000001-1-7.png."))
    assert len(pieces) > 2
    assert b"".join(files[name] for name in pieces) == large
    texts = [name for name in files if name.startswith("jobs")]
    assert texts[:2] == ["jobs.json", "jobs-2.json"]
    jobs = [job["id"] for name in texts for job in json.loads(files[name])]
    assert jobs == list(range(1, 22))
    assert files[f"uploads/{upload}.png"] == b"handed in"
    assert json.loads(files["searches.json"]) == [{"search": "fox"}]


async def test_deleting_leaves_nothing_but_what_others_use(store: Store, tmp_path: Path) -> None:
    mine = await drawn(store, png=b"mine")
    shared = await drawn(store, png=b"shared")
    # somebody else started from one of the pictures
    theirs = await drawn(store, user=2, init_picture=shared.pictures[0].file, parent=shared.id)
    await store.jobs.add_message(70, 700, mine.id, "result")
    await store.settings.change_person(1, private=True)
    await store.history.set_favourite(1, theirs.id, 0, True)
    deleted = await store.personal.delete(1)
    assert (deleted.jobs, deleted.pictures, deleted.messages) == (2, 2, ((700, 70),))
    files = PictureFiles(tmp_path / "pictures")
    assert not files.path(mine.pictures[0].file).exists()
    assert files.path(shared.pictures[0].file).exists()
    assert await store.settings.person(1) == PersonSettings()
    assert not await store.history.is_favourite(1, theirs.id, 0)
    assert await store.jobs.shown_by(70) is None
    left = await store.jobs.get(theirs.id)
    assert left is not None
    assert left.parent is None
    await store.personal.delete_job(theirs.id)
    # twice is no error
    assert (await store.personal.delete_job(theirs.id)).jobs == 0
    assert not files.path(shared.pictures[0].file).exists()


async def test_nothing_is_deleted_while_something_runs(store: Store) -> None:
    ended = await drawn(store)
    waiting = await store.jobs.add(a_request(), an_origin(1))
    for _ in range(2):
        with pytest.raises(Refused, match="delete_while_running"):
            await store.personal.delete(1)
        await store.jobs.claim(waiting.id)
    assert await store.jobs.get(ended.id) is not None
    # another's job is in nobody's way
    assert (await store.personal.delete(2)).jobs == 0
    await store.jobs.finish(waiting.id, MAKING)
    assert (await store.personal.delete(1)).jobs == 2


async def test_many_jobs_are_deleted_in_few_statements(
    store: Store, statements: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal_data, "CHUNK_SECONDS", 60.0)
    first = await drawn(store, png=b"first")
    theirs = await drawn(store, user=2)
    row = {name: getattr(first, name) for name in ("state", "request", "origin", "action")}
    row |= {"user_id": 1, "guild_id": 10, "attempts": 1, "created_at": first.created_at}
    async with store.jobs._database.begin() as connection:
        await connection.execute(insert(JobRow), [row] * (2 * CHUNK + 1))
    statements.clear()
    deleted = await store.personal.delete(1)
    assert deleted.jobs == 2 * CHUNK + 2
    assert 3 < len(statements) < 80
    assert await store.jobs.get(theirs.id) is not None
    assert not PictureFiles(tmp_path / "pictures").path(first.pictures[0].file).exists()
    since = first.created_at - timedelta(hours=1)
    assert len(await store.usage.pictures_since(1, 10, since)) == 2 * CHUNK + 2


async def test_deleting_gives_no_quota_back(store: Store) -> None:
    job = await drawn(store, count=3)
    since = job.created_at - timedelta(hours=1)
    used = [(job.created_at, 3)]
    assert await store.usage.pictures_since(1, 10, since) == used
    await store.personal.delete_job(job.id)
    assert await store.usage.pictures_since(1, 10, since) == used
    assert await store.usage.pictures_since(1, 11, since) == []
    assert await store.usage.pictures_since(1, 10, job.created_at) == []


async def test_uploads_that_nothing_names_are_swept_when_they_are_old(store: Store) -> None:
    used = await store.jobs.keep_upload(b"used")
    unused = await store.jobs.keep_upload(b"unused")
    await store.jobs.add(a_request(init_picture=used, denoising_strength=0.5), an_origin(1))
    await drawn(store, png=b"drawn")
    assert await store.personal.sweep(timedelta(hours=1)) == 0
    assert await store.jobs.read_upload(unused) == b"unused"
    assert await store.personal.sweep(timedelta(seconds=-1)) == 1
    assert await store.jobs.read_upload(used) == b"used"
    with pytest.raises(Refused, match="picture_gone"):
        await store.jobs.read_upload(unused)
    picture = (await store.jobs.get(2)).pictures[0]  # type: ignore[union-attr]
    assert await store.jobs.read_picture(picture) == b"drawn"


async def test_what_is_handed_in_again_is_no_longer_old(store: Store, tmp_path: Path) -> None:
    await store.jobs.keep_upload(b"again")
    [file] = (tmp_path / "pictures").rglob("*.png")
    os.utime(file, (0, 0))
    await store.jobs.keep_upload(b"again")
    assert await store.personal.sweep(timedelta(hours=1)) == 0
