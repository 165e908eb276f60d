"""Buttons and menus with custom ids and values that nobody was offered, over hostile records."""

import random
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import discord
import msgspec
import pytest

from bot.client import ITEMS, known
from bot.locales import sentences
from generation.job import PresetUse
from generation.preset import Preset
from generation.request_parts import LoraUse
from storage.drafts import Draft
from storage.history import Query
from storage.settings import GuildSettings
from tests.acceptance.conftest import Rig
from tests.acceptance.hostile import HUGE, an_interaction, check_answers
from tests.fixtures import fuzz
from tests.fixtures.requests import a_request, an_origin

COMPONENT = discord.InteractionType.component
PEOPLE = 40
"""Who have something to press buttons of."""
MENUS = {
    "EntryMenu": discord.ui.Select,
    "GridPicker": discord.ui.Select,
    "SettingsMenu": discord.ui.Select,
    "SettingsRemoveMenu": discord.ui.Select,
    "PresetMenu": discord.ui.Select,
    "PresetRoles": discord.ui.RoleSelect,
}
NUMBERS = ("0", "1", "2", "3", "9" * 18, "9" * 19, "9" * 5000, "-1", "", "²", "x", "1 ", "٣")
NAMES = ("night", "5", "unknown", "x" * 50, "x" * 51, "a b", "", "\0", "\ud83d", "名" * 20, HUGE)
WORDS = ("guild", "person", "blocklist", "channels", "quota_by_role", "press", "nothing", "")
MARKS = ("00000000", "abcdef01", "x", "")
SHAPES = (
    "history:{n}:before:{n}",
    "history:{n}:after:{n}",
    "history:{n}:{w}:{n}",
    "entry",
    "entry:{n}",
    "catalogue:checkpoint:{n}",
    "catalogue:lora:{n}",
    "catalogue:{w}:{n}",
    "followed:{n}",
    "prompted:style:{n}",
    "grid:draw:{n}",
    "grid:{w}:{n}",
    "grid_pick:{n}:{n}",
    "approval:denied:{n}",
    "again:{n}",
    "draft:{n}",
    "preset_set:model:{p}",
    "preset_set:sampler:{p}",
    "preset_set:aspect:{p}",
    "preset_set:part:{p}",
    "own_preset_set:part:{p}",
    "own_preset_set:model:{p}",
    "preset_roles:{p}",
    "preset_roles:{p}:Ab-_",
    "preset_text:{p}",
    "own_preset_text:{p}",
    "settings:{w}",
    "settings:guild",
    "settings:person",
    "settings_next:{w}:{w}:{n}",
    "settings_next:guild:blocklist:{n}",
    "settings_edit:guild:{w}:{n}",
    "settings_add:guild:{w}:{n}",
    "settings_file:guild:{w}:{n}",
    "settings_all:{w}:{w}:{n}",
    "settings_remove:guild:{w}:{n}:{m}",
    "reroll:{n}",
    "upscale:{n}:{n}",
    "parameters:{n}",
    "edit:{n}",
    "start:{n}:{n}",
    "delete:{n}",
    "favourite:{n}:{n}",
    "pick:{n}:{n}",
    "send:{n}",
    "cancel:{n}",
    "retry:{n}",
    "replay:{n}",
    "{w}:{n}",
    "{p}",
)
VALUES = (
    *("1", "2", "-", "+", "texts", "numbers", "files", "bounds", "Euler", "demo", "3:2", "quota"),
    *("press", "blocklist", "channel_presets", "language", "private", "9" * 5000, "²", "", "\0"),
    *("\ud83d", "x" * 6000, "aspect", "default_preset", "waiting_by_role", "25", "9999"),
)


def uses(count: int) -> Iterator[tuple[int, str, list[str]]]:
    """Who uses what: a person, a custom id, and the values of a menu."""
    chance = random.Random(count)
    for number, text in enumerate(fuzz.texts(count, [":", "darkroom", "1", "night", "guild"], 4)):
        person = 1 + number % PEOPLE
        # each has a job, a search and a draft of their own number
        own = str(person)
        shape = chance.choice(SHAPES)
        for mark, pieces in (("n", NUMBERS), ("p", NAMES), ("w", WORDS), ("m", MARKS)):
            while f"{{{mark}}}" in shape:
                piece = text if chance.random() < 0.1 else chance.choice(pieces)
                piece = own if mark == "n" and chance.random() < 0.5 else piece
                shape = shape.replace(f"{{{mark}}}", piece, 1)
        if chance.random() < 0.002:
            shape = "forget_me"
        some = range(chance.choice((0, 1, 1, 1, 1, 3)))
        values = [own if chance.random() < 0.2 else chance.choice((*VALUES, text)) for _ in some]
        yield person, f"darkroom:{shape}" if chance.random() < 0.97 else text, values


async def people_with_records(rig: Rig) -> None:
    """Jobs, presets, drafts, searches and settings, as odd as they may be."""
    store = rig.studio.store
    jobs, chance = store.jobs, random.Random(1)
    texts = list(fuzz.texts(PEOPLE, ["*", "`", "[", "](", "night", "cat "], 12))
    for person, text in zip(range(1, PEOPLE + 1), texts, strict=True):
        plain = text.replace("\0", "").encode("utf-8", "ignore").decode() or "cat"
        await store.history.keep_query(person, Query(search=chance.choice(("", plain[:200]))))
        for name in ("night", "5", "名" * 20):
            model = chance.choice((None, "demo", "gone"))
            await store.own_presets.write(person, Preset(name=name, model=model))
        values = {"prompt": plain, "parameters": plain}
        name = chance.choice(("imagine", "edit", "setting", "preset", "own_preset_part", "gone"))
        where = chance.choice(((), ("1",), ("guild", "quota"), ("texts", "night"), (plain,)))
        await store.drafts.keep(person, Draft(name=name, where=where, values={**values}))
        request = a_request(
            prompt=plain[:4000].strip() or "cat",
            negative_prompt=chance.choice(("", plain[:4000])),
            model=chance.choice(("demo", "demo", "x" * 500, plain[:500])),
            loras=msgspec.to_builtins((LoraUse("a_*" * 100),) if chance.random() < 0.3 else ()),
            count=chance.choice((1, 4)),
        )
        # without a channel nobody need be told
        origin = an_origin(person, user_name=plain[:300], channel_id=None)
        job = await jobs.add(
            request,
            origin,
            preset=chance.choice((None, PresetUse(plain[:50], own=chance.random() < 0.5))),
        )
        if chance.random() < 0.2:
            await jobs.cancel_waiting(job.id)
        rig.studio.workers.wake(job)
    for number in range(1, PEOPLE + 1):
        await rig.until(lambda job: job.ended, number)
    blocklist = tuple(f"word {number} *_`" * chance.choice((1, 20)) for number in range(400))
    settings = GuildSettings(
        blocklist=blocklist,
        channels=(100, *range(10**17, 10**17 + 60)),
        quota_by_role={10**17 + i: 1 + i for i in range(60)},
        channel_presets={10**17 + i: "night" for i in range(60)},
    )
    await store.settings.change_guild(10, lambda _now: settings)
    for name in ("night", "5", "x" * 50):
        await store.presets.write(10, Preset(name=name, model="demo", roles=(1, 2)))


def takes(item: Any, custom_id: str) -> bool:
    return item.__discord_ui_compiled_template__.fullmatch(custom_id) is not None


async def use(rig: Rig, interaction: Any, custom_id: str, values: list[str]) -> None:
    """As discord.py does what a component is for, and the client what is none."""
    interaction.data = {**(interaction.data or {}), "custom_id": custom_id}
    if not known(interaction):
        await rig.client.on_interaction(interaction)
        return
    [item] = [i for i in ITEMS if takes(i, custom_id)]
    base: Any = MENUS.get(item.__name__, discord.ui.Button)(custom_id=custom_id[:100])
    base._values = values
    if base.type is discord.ComponentType.role_select:
        numbers = (value for value in values if re.fullmatch("[0-9]{1,19}", value))
        base._values = [SimpleNamespace(id=int(number)) for number in numbers]
    made = await item.from_custom_id(interaction, base, None)  # type: ignore[arg-type]
    if await made.interaction_check(interaction):
        await made.callback(interaction)


@pytest.mark.slow
@pytest.mark.parametrize("count", fuzz.CASES)
async def test_components_that_nobody_was_offered(
    rig: Rig, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    await people_with_records(rig)
    for number, (person, custom_id, values) in enumerate(uses(count)):
        data = {"values": values, "component_type": 3}
        interaction = an_interaction(rig, COMPONENT, data, number, person=person)
        await use(rig, interaction, custom_id, values)
        assert interaction.response.is_done(), custom_id
        check_answers(interaction, caplog, interaction.data)


async def test_a_preset_may_be_named_like_a_number(rig: Rig) -> None:
    """Its button is no action's on a job of that number."""
    await rig.studio.store.own_presets.write(1, Preset(name="5"))
    for custom_id in (
        "darkroom:preset_roles:5",
        "darkroom:preset_roles:5:1234",
        "darkroom:preset_text:5",
    ):
        assert len([i for i in ITEMS if takes(i, custom_id)]) == 1
    interaction = an_interaction(rig, COMPONENT, {}, 0, person=1)
    await use(rig, interaction, "darkroom:own_preset_text:5", [])
    assert interaction.answers.said == ["modal"]


@pytest.mark.parametrize("values", [[], [""], ["unknown"]])
async def test_a_part_of_a_preset_that_is_none_is_refused(rig: Rig, values: list[str]) -> None:
    await rig.studio.store.own_presets.write(1, Preset(name="night"))
    interaction = an_interaction(rig, COMPONENT, {}, 0, person=1)
    await use(rig, interaction, "darkroom:own_preset_set:part:night", values)
    [said] = interaction.answers.said
    assert said in (sentences("en-US")["press_gone"], sentences("en-US")["setting_gone"])


async def test_a_draft_about_anothers_request_shows_what_one_typed_alone(rig: Rig) -> None:
    """Whoever made up the modal of a request learns nothing of it by trying again."""
    store = rig.studio.store
    origin = an_origin(2, channel_id=None, private=True)
    job = await store.jobs.add(a_request(prompt="a secret"), origin)
    values: dict[str, str | list[str]] = {"negative_prompt": "a cat"}
    draft = Draft(name="retry", where=(str(job.id),), values=values)
    number = await store.drafts.keep(1, draft)
    interaction = an_interaction(rig, COMPONENT, {}, 0, person=1)
    await use(rig, interaction, f"darkroom:draft:{number}", [])
    assert interaction.answers.modal is not None
    shown = str(interaction.answers.modal.to_dict())
    assert "a cat" in shown
    assert "secret" not in shown
