"""Eight at once on the same row: no error, and nothing of anybody's is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from generation.preset import Preset
from generation.refusal import Refused
from storage.database import Database, open_database
from storage.guild_presets import PRESETS_MAX
from storage.pictures import PictureFiles
from storage.settings import GuildSettings, PersonSettings
from storage.store import Store
from tests.fixtures.requests import a_request, an_origin

EIGHT = range(1, 9)


@pytest.fixture
async def two(store: Store, url: str, tmp_path: Path) -> list[Store]:
    """Two stores with connections and memories of their own, as two processes have them."""
    other = await open_database(url)
    request = Store(other, PictureFiles(tmp_path / "pictures"))
    return [store, request]


@pytest.fixture(autouse=True)
async def _ended(two: list[Store]) -> object:
    yield
    await two[1].jobs._database.dispose()


async def eight(two: list[Store], act: Callable[[Store, int], Awaitable[object]]) -> list[object]:
    """What eight calls at once return, half of them of each store."""
    return list(await asyncio.gather(*(act(two[n % 2], n) for n in EIGHT)))


async def test_a_star(two: list[Store]) -> None:
    job = await two[0].jobs.add(a_request(), an_origin())
    await eight(two, lambda store, _: store.history.set_favourite(1, job.id, 0, True))
    assert await two[0].history.is_favourite(1, job.id, 0)
    await eight(two, lambda store, n: store.history.set_favourite(1, job.id, 0, n % 3 == 0))
    await eight(two, lambda store, _: store.history.set_favourite(1, job.id, 0, False))
    assert not await two[0].history.is_favourite(1, job.id, 0)


async def test_a_message(two: list[Store]) -> None:
    job = await two[0].jobs.add(a_request(), an_origin())
    await eight(two, lambda store, _: store.jobs.add_message(70, 700, job.id, "result"))
    assert await two[0].jobs.messages_of(job.id, "result") == [(700, 70)]


async def test_a_notice(two: list[Store]) -> None:
    told = await eight(two, lambda store, _: store.settings.notice(1, "once"))
    assert sorted(map(bool, told)) == [False] * 7 + [True]


async def test_a_setting(two: list[Store]) -> None:
    await eight(two, lambda store, n: store.settings.change_guild(5, quota=n))
    assert (await fresh(two[0]).settings.guild(5)).quota in EIGHT


async def test_a_list_in_a_setting_keeps_what_everybody_added(two: list[Store]) -> None:
    def add(n: int) -> Callable[[GuildSettings], GuildSettings]:
        return lambda now: msgspec.structs.replace(now, quota_by_role=now.quota_by_role | {n: n})

    await eight(two, lambda store, n: store.settings.change_guild(5, add(n)))
    for store in (*two, fresh(two[0])):
        assert (await store.settings.guild(5)).quota_by_role == {n: n for n in EIGHT}


async def test_the_first_presets_of_a_server(two: list[Store]) -> None:
    starters = [Preset(name="demo"), Preset(name="other")]
    await eight(two, lambda store, _: store.presets.ensure_starters(5, starters))
    assert await two[0].presets.all_of(5) == starters


async def test_a_name_for_a_preset(two: list[Store]) -> None:
    async def take(store: Store, n: int) -> str:
        try:
            await store.presets.write(5, Preset(name="a", steps=n))
        except Refused as refused:
            return refused.code
        return "taken by me"

    assert sorted(map(str, await eight(two, take))) == ["preset_taken"] * 7 + ["taken by me"]


async def test_the_last_free_place_for_a_preset(two: list[Store]) -> None:
    await two[0].presets.put_many(5, [Preset(name=str(n)) for n in range(PRESETS_MAX - 1)])

    async def take(store: Store, n: int) -> str:
        try:
            await store.presets.write(5, Preset(name=f"new {n}"))
        except Refused as refused:
            return refused.code
        return "written"

    assert sorted(map(str, await eight(two, take))) == ["presets_too_many"] * 7 + ["written"]


async def test_a_default_and_a_renaming(two: list[Store]) -> None:
    """Whatever comes first, no default names what is not there."""
    for round_ in range(3):
        a, b = f"a{round_}", f"b{round_}"
        await two[0].presets.write(5, Preset(name=a))
        await asyncio.gather(
            two[0].presets.write(5, Preset(name=b), was=a),
            two[1].presets.set_default(5, a, channel_id=9),
            two[1].presets.set_own_default(1, 5, a),
            return_exceptions=True,
        )
        names = {preset.name for preset in await two[0].presets.all_of(5)}
        later = fresh(two[0]).settings
        assert set((await later.guild(5)).channel_presets.values()) <= names
        assert {(await later.person(1)).default_preset} <= names | {None}


async def test_what_is_at_hand_follows_a_change_from_elsewhere_in_this_process(
    store: Store,
) -> None:
    await store.presets.write(5, Preset(name="a"))
    await store.presets.set_default(5, "a")
    await store.presets.set_own_default(1, 5, "a")
    assert (await store.settings.guild(5)).default_preset == "a"
    assert (await store.settings.person(1)).default_preset == "a"
    await store.presets.delete(5, "a")
    assert (await store.settings.guild(5)) == GuildSettings()
    assert (await store.settings.person(1)) == PersonSettings()


def fresh(store: Store) -> Store:
    """A store that has nothing at hand."""
    database: Database = store.jobs._database
    return Store(database, PictureFiles(Path("unused")))
