"""Whatever is kept, the pages that list it are something that Discord takes."""

import contextlib
import random
from typing import Any

import discord
import msgspec
import pytest

from bot.access.caller import Caller, Person, Place
from bot.features import queue
from bot.features.history import pages
from bot.features.presets import command as preset_command
from bot.features.presets import fields
from bot.features.presets import panel as preset_panel
from bot.features.presets.shelf import BY_PREFIX
from bot.features.settings import lists
from bot.features.settings import panel as settings_panel
from bot.features.settings.panel import SETTINGS
from bot.locales import LOCALES, Texts
from bot.pictures.attachments import Attachment
from generation.preset import Preset
from generation.refusal import Refused
from generation.request_parts import LoraUse
from generation.schedule import Planned
from generation.worker_pool import Awaited
from playground.validation.form import Form
from playground.validation.messages import check_message, check_shows
from playground.validation.modals import check_modal
from storage.history import Page
from storage.presets import KeptPreset
from storage.settings import GuildSettings, PersonSettings
from tests.fixtures import fuzz
from tests.unit.bot.ui.test_hostile_jobs import NAMES, a_job
from tests.unit.generation.catalogs import a_catalog, a_model

PLAIN = ("night", "a_*" * 16, "名" * 50, "[x](y)", "```", "-", "+", "é" * 50)
"""Names that a preset may have."""
ID = 10**18
CATALOG = a_catalog(
    *(a_model(name) for name in ("demo", "x" * 300, " ", *(f"m{i}" for i in range(40))))
)


def takes(view: Any = None, embed: discord.Embed | None = None, content: str = "") -> None:
    """Raise unless Discord takes the message."""
    body: dict[str, Any] = {"embeds": [embed.to_dict()] if embed is not None else []}
    if content:
        body["content"] = content
    if view is not None:
        body["components"] = view.to_components()
    check_message(body, [], v2=view is not None and view.has_components_v2())
    check_shows(body, [])


def takes_modal(modal: discord.ui.Modal) -> None:
    form = Form()
    check_modal(form, modal.to_dict())
    form.done()


def a_preset(chance: random.Random, text: str) -> Preset:
    def some(limit: int) -> str:
        return chance.choice((text, *NAMES))[:limit]

    return Preset(
        name=chance.choice(PLAIN)[:50],
        description=some(200),
        model=chance.choice((None, "demo", some(500))),
        sampler=chance.choice((None, some(500))),
        template=chance.choice((None, some(3000) + "{prompt}")),
        negative_prompt=chance.choice((None, some(4000))),
        steps=chance.choice((None, 150)),
        guidance=chance.choice((None, 1 / 3)),
        roles=tuple(range(ID, ID + chance.choice((0, 1, 30, 200)))),
        loras=tuple(LoraUse(some(500), -1 / 3) for _ in range(chance.choice((0, 1, 8)))),
    )


def a_caller(chance: random.Random, text: str, presets: list[Preset]) -> Caller:
    phrases = (text[:500] or "x", "*_`" * 100, "word")
    name = chance.choice(presets).name
    guild = GuildSettings(
        default_preset=chance.choice((None, name)),
        channel_presets={ID + i: name for i in range(chance.choice((0, 1, 60)))},
        channels=tuple(range(ID, ID + chance.choice((0, 2, 80)))),
        quota_by_role={ID + i: 100_000 for i in range(chance.choice((0, 1, 60)))},
        weight_by_role={ID + i: 1 / 3 for i in range(chance.choice((0, 1, 60)))},
        blocklist=tuple(chance.choice(phrases) for _ in range(chance.choice((0, 3, 500)))),
        audit_channel=chance.choice((None, ID)),
        language=chance.choice((None, *LOCALES)),
    )
    own = PersonSettings(default_preset=chance.choice((None, name)), own_preset=name)
    place = chance.choice((Place(None, 100), Place(10, 100)))
    return Caller(Person(1, text, manager=chance.random() < 0.7), place, guild, own)


@pytest.mark.parametrize("count", fuzz.CASES)
def test_presets_in_lists_and_panels(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["*", "_", "`", "[", "]("], 8):
        found = [a_preset(chance, text) for _ in range(chance.choice((1, 2, 2, 2, 100)))]
        caller = a_caller(chance, text, found)
        preset = found[0]
        shelf = chance.choice(tuple(BY_PREFIX.values()))
        takes(embed=preset_command._list_embed(found, caller, shelf))
        takes(preset_panel.shown(preset, caller, CATALOG, shelf))
        part = chance.choice(tuple(fields.PARTS))
        kept = KeptPreset(2**63 - 1, preset)
        takes_modal(preset_panel.part_modal(kept, part, caller, shelf))
        with contextlib.suppress(Refused):  # one that is too long for a modal
            takes_modal(preset_panel.text_modal(preset, caller, shelf, kept))


@pytest.mark.parametrize("count", fuzz.CASES)
def test_settings_in_panels_and_lists(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["*", "_", "`", "[", "]("], 8):
        caller = a_caller(chance, text, [a_preset(chance, text)])
        takes(settings_panel.shown(caller, audit_closed=chance.random() < 0.5))
        setting = chance.choice(tuple(SETTINGS.values()))
        takes_modal(settings_panel.modal_of(setting, caller))
        if setting.kind not in settings_panel.LISTS:
            continue
        every = lists.pages(setting, caller)
        page = chance.randrange(-1, len(every) + 1)
        names = {ID: text, ID + 1: "", ID + 2: "x" * 200}
        takes(lists.shown(setting, caller, page, names))
        takes_modal(lists.modal(setting, caller, chance.choice((None, page))))


@pytest.mark.parametrize("count", fuzz.CASES)
def test_the_queue_and_the_history(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["*", "_", "`", "[", "]("], 8):
        texts = Texts(chance.choice(LOCALES))
        numbered = enumerate(a_job(chance, text) for _ in range(pages.ENTRIES))
        jobs = [msgspec.structs.replace(job, id=10**17 - number) for number, job in numbered]
        plan = [Planned(job, place, 1e9, 1e12, False) for place, job in enumerate(jobs)] * 2
        running = chance.choice(({}, {"main": jobs[0]}, {f"w{n}" * 10: jobs[0] for n in range(16)}))
        user = chance.choice((1, 2))
        waiting, named = chance.choice((0, 10**9)), len(running) > 1
        hosts = (text[:60],) * 3
        awaited = {job.id: Awaited(hosts) for job in jobs if chance.random() < 0.3}
        shown = queue._embed(
            *(running, plan[: queue.SHOWN], awaited, waiting, user, texts), name_workers=named
        )
        takes(embed=shown)
        some = jobs[: chance.randint(1, pages.ENTRIES)]
        thumbnails = [chance.choice((None, Attachment("x.webp", b"", False))) for _ in some]
        page = Page(tuple(some), newer=True, older=False)
        takes(pages._page(page, thumbnails, 10**18 - 1, texts))
        takes(pages.entry_view(some[0], texts, lambda _target, _job: True), content="x")


def test_of_many_roles_and_channels_the_first_are_named() -> None:
    roles = tuple(range(ID, ID + 200))
    preset = Preset(name="night", roles=roles)
    guild = GuildSettings(channel_presets={ID + i: "night" for i in range(60)})
    caller = Caller(Person(1, "ada", manager=True), Place(10, 100), guild, PersonSettings())
    [shelf] = (shelf for shelf in BY_PREFIX.values() if not shelf.own)
    text = preset_command._list_embed([preset], caller, shelf).description or ""
    assert (text.count("<@&"), text.count("<#")) == (10, 10)
    assert "190" in text
    assert "50" in text
