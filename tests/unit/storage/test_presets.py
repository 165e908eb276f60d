"""Presets by name and number; defaults name those that are there, by the names that these have."""

from datetime import timedelta

import msgspec
import pytest

from generation.job import PresetUse
from generation.preset import Preset
from generation.refusal import Refused
from storage.presets import KeptPreset
from storage.settings import GuildSettings, PersonSettings
from storage.store import Store
from tests.fixtures.requests import a_request, an_origin


@pytest.fixture
async def landscape(store: Store) -> Store:
    """A server whose preset is everybody's default."""
    await store.presets.write(5, Preset(name="Landscape", steps=1))
    await store.presets.write(5, Preset(name="other"))
    await store.presets.set_default(5, "LANDSCAPE")
    await store.presets.set_default(5, "landscape", channel_id=50)
    await store.presets.set_default(5, "other", channel_id=51)
    await store.presets.set_own_default(1, 5, "landSCAPE")
    await store.presets.set_own_default(2, 5, "other")
    return store


async def defaults(store: Store) -> tuple[str | None, dict[int, str], str | None, str | None]:
    guild = await store.settings.guild(5)
    people = [(await store.settings.person(user)).default_preset for user in (1, 2)]
    return guild.default_preset, guild.channel_presets, people[0], people[1]


async def test_a_default_is_named_as_the_preset_is(landscape: Store) -> None:
    everywhere = {50: "Landscape", 51: "other"}
    assert await defaults(landscape) == ("Landscape", everywhere, "Landscape", "other")


async def test_a_default_is_taken_away(landscape: Store) -> None:
    await landscape.presets.set_default(5, None)
    await landscape.presets.set_default(5, None, channel_id=50)
    await landscape.presets.set_own_default(1, 5, None)
    assert await defaults(landscape) == (None, {51: "other"}, None, "other")


async def test_what_is_not_there_is_nobodys_default(landscape: Store) -> None:
    before = await defaults(landscape)
    for call in (
        landscape.presets.set_default(5, "nothing"),
        landscape.presets.set_default(5, "nothing", channel_id=50),
        landscape.presets.set_own_default(1, 6, "Landscape"),
    ):
        with pytest.raises(Refused, match="preset_unknown"):
            await call
    assert await defaults(landscape) == before


async def test_renaming_takes_the_defaults_along(landscape: Store) -> None:
    await landscape.presets.write(5, Preset(name="View"), was="LANDSCAPE")
    assert await defaults(landscape) == ("View", {50: "View", 51: "other"}, "View", "other")


async def test_so_does_another_way_to_write_the_name(landscape: Store) -> None:
    await landscape.presets.put_many(5, [Preset(name="LandScape")], replace=True)
    assert (await defaults(landscape))[0] == "LandScape"
    await landscape.presets.write(5, Preset(name="LANDSCAPE"), was="LandScape")
    assert (await defaults(landscape))[0] == "LANDSCAPE"


async def test_a_renaming_that_is_refused_changes_nothing(landscape: Store) -> None:
    before = await defaults(landscape)
    with pytest.raises(Refused, match="preset_taken"):
        await landscape.presets.write(5, Preset(name="OTHER"), was="Landscape")
    assert await defaults(landscape) == before
    assert (await landscape.presets.get(5, "landscape")).steps == 1


async def test_deleting_leaves_no_default_behind(landscape: Store) -> None:
    await landscape.presets.delete(5, "landscape")
    assert await defaults(landscape) == (None, {51: "other"}, None, "other")
    await landscape.presets.delete(5, "other")
    assert await landscape.settings.guild(5) == GuildSettings()
    assert await landscape.settings.person(2) == PersonSettings()


async def test_another_servers_presets_are_another_matter(landscape: Store) -> None:
    await landscape.presets.write(6, Preset(name="Landscape"))
    await landscape.presets.set_own_default(2, 6, "Landscape")
    await landscape.presets.write(6, Preset(name="Mine"), was="Landscape")
    assert (await defaults(landscape))[0] == "Landscape"
    assert (await defaults(landscape))[2:] == ("Landscape", "Mine")


async def test_an_old_default_follows_where_only_one_server_has_it(landscape: Store) -> None:
    await landscape.settings.change_person(3, default_preset="LANDSCAPE")
    await landscape.presets.write(6, Preset(name="Landscape"))
    await landscape.presets.delete(6, "Landscape")
    # two servers had it, so nobody knows which was meant
    assert (await landscape.settings.person(3)).default_preset == "LANDSCAPE"
    await landscape.presets.write(5, Preset(name="View"), was="Landscape")
    assert (await landscape.settings.person(3)).default_preset == "View"


async def test_a_name_that_is_longer_in_folded_case_is_kept(store: Store) -> None:
    name = "\N{GREEK SMALL LETTER IOTA WITH DIALYTIKA AND TONOS}" * 50
    await store.presets.write(5, Preset(name=name, steps=3))
    await store.presets.set_default(5, name)
    assert (await store.presets.get(5, name)).steps == 3


async def test_a_number_stays_whatever_the_name(store: Store) -> None:
    await store.presets.write(5, Preset(name="oils", roles=(7,), steps=3))
    number = (await store.presets.kept(5, "oils")).id
    await store.presets.write(5, Preset(name="Paint", roles=(7,)), was="OILS")
    await store.presets.change(5, "paint", lambda now: msgspec.structs.replace(now, steps=4))
    await store.presets.put_many(5, [Preset(name="PAINT", roles=(8,))], replace=True)
    assert await store.presets.kept(5, "paint") == KeptPreset(
        number, Preset(name="PAINT", roles=(8,))
    )
    # another of the old name is another
    await store.presets.write(5, Preset(name="oils"))
    assert (await store.presets.kept(5, "oils")).id != number
    assert await store.presets.used(5, number) == Preset(name="PAINT", roles=(8,))
    # and each is its own server's, and no person's
    assert await store.presets.used(6, number) is None
    assert await store.own_presets.used(5, number) is None


async def test_of_a_deleted_one_its_roles_are_kept_for_what_was_made_with_it(
    store: Store,
) -> None:
    for name in ("oils", "unused"):
        await store.presets.write(5, Preset(name=name, roles=(7,), steps=3, template="a {prompt}"))
    oils, unused = [await store.presets.kept(5, name) for name in ("oils", "unused")]
    origin = an_origin(guild_id=5)
    await store.jobs.add(a_request(), origin, preset=PresetUse("oils", oils.id))
    for name in ("OILS", "unused"):
        await store.presets.delete(5, name)
    assert await store.presets.all_of(5) == []
    assert await store.presets.find(5, "oils") is None
    assert await store.presets.used(5, oils.id) == Preset(name="oils", roles=(7,))
    # a request that has chosen it already may still be written
    assert await store.presets.used(5, unused.id) == Preset(name="unused", roles=(7,))
    # one that is renamed to its name is another still; a new one takes its place
    await store.presets.write(5, Preset(name="paint"))
    await store.presets.write(5, Preset(name="Oils", steps=9), was="paint")
    assert (await store.presets.kept(5, "oils")).id != oils.id
    await store.presets.delete(5, "oils")
    await store.presets.write(5, Preset(name="Oils", steps=9))
    assert await store.presets.kept(5, "oils") == KeptPreset(oils.id, Preset(name="Oils", steps=9))


async def test_presets_of_a_person_go_with_their_data(store: Store) -> None:
    await store.own_presets.write(1, Preset(name="ink"))
    ink = await store.own_presets.kept(1, "ink")
    job = await store.jobs.add(a_request(), an_origin(), preset=PresetUse("ink", ink.id, own=True))
    assert (await store.jobs.get(job.id)) == job
    await store.own_presets.delete(1, "ink")
    assert await store.own_presets.used(1, ink.id) == Preset(name="ink")
    await store.presets.write(1, Preset(name="the server's"))
    await store.jobs.cancel_waiting(job.id)
    await store.personal.delete(1)
    assert await store.own_presets.used(1, ink.id) is None
    assert await store.presets.all_of(1) == [Preset(name="the server's")]


async def test_a_deleted_one_that_no_request_was_made_with_goes_in_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("late", "unused"):
        await store.presets.write(5, Preset(name=name, roles=(7,)))
    late, unused = [await store.presets.kept(5, name) for name in ("late", "unused")]
    for kept in (late, unused):
        await store.presets.delete(5, kept.name)
    # it was chosen before, and is written only now
    await store.jobs.add(a_request(), an_origin(guild_id=5), preset=PresetUse("late", late.id))
    monkeypatch.setattr("storage.presets.UNUSED_KEPT_FOR", timedelta())
    await store.presets.write(5, Preset(name="other"))
    await store.presets.delete(5, "other")
    assert await store.presets.used(5, late.id) == Preset(name="late", roles=(7,))
    assert await store.presets.used(5, unused.id) is None
