"""Whatever a custom_id names, only those get at it who may: every item and dialog is found here."""

import itertools
import re
import re._constants as opcodes  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from typing import Any, Final

import discord
import msgspec
import pytest

from bot.client import ITEMS, MODALS
from bot.interactions.edited_pictures import draft_of
from bot.locales import sentences
from bot.requests.edits import of_job
from generation.grids import GridPlan, axis
from generation.info.found import Info
from generation.job import JobState
from storage import drafts
from storage.drafts import Draft
from storage.history import Query
from storage.jobs import JobStore
from tests.acceptance.conftest import Rig, png
from tests.acceptance.hostile import INCIDENT, Interaction, an_interaction
from tests.acceptance.test_hostile_items import use
from tests.fixtures.requests import a_request, an_origin

SECRET: Final = "an owl on a moonlit roof"
OWNER, OTHER = 1, 2
COMPONENT = discord.InteractionType.component
MODAL = discord.InteractionType.modal_submit
NOTHING: Final = frozenset(
    sentences("en-US")[key] for key in ("press_gone", "draft_gone", "job_unknown", "grid_gone")
)
"""What whoever made up a custom_id is told."""
NUMBERED: Final = {name: str(number) for number, name in enumerate(MODALS, 1)}
"""The draft of each modal."""
INFO: Final = str(len(NUMBERED) + 1)
"""The draft of what a file says."""
NUMBERS: Final = ["1", "2", NUMBERED["control"], NUMBERED["image_prompt"], INFO]
"""Of jobs, and of drafts that buttons name."""
ABOUT: Final = {
    "redraw_upload": '{"id": "5", "filename": "a.png", "size": 9, "url": "", "proxy_url": ""}',
    "blend_with": '{"job": 1, "pictures": [0]}',
}
ENTERED: Final[dict[str, Any]] = {
    "prompt": "a fox",
    "x": "steps: 1, 2",
    "controlnet": ["demo-edges"],
    "control_scale": "1",
    "ip_adapter": ["none"],
    "image_weight": "1",
    "denoising": "0.5",
    "how": ["fill/whole picture"],
    "sides": ["left"],
    "share": ["half"],
    "mask_words": "hat",
    "others": "2",
    "job": "1",
}


@pytest.fixture
async def hidden(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What only its owner may see, each of number 1, and of 2 on another server; the hashes."""
    for bound in ("DRAFTS_MAX", "WITH_PICTURES_MAX"):
        # what is refused here makes more of them than people do
        monkeypatch.setattr(drafts, bound, 10**6)
    store = rig.studio.store
    jobs: JobStore = store.jobs
    files = {await jobs.keep_upload(png(colour)) for colour in ("red", "blue")}
    start, mask = sorted(files)
    request = a_request(prompt=SECRET, init_picture=start, denoising_strength=0.5)
    private = an_origin(OWNER, private=True, channel_id=None)
    elsewhere = an_origin(OWNER, guild_id=20, channel_id=200)
    for origin in (private, elsewhere):
        rig.studio.workers.wake(await jobs.add(request, origin))
    for number in (1, 2):
        job = await rig.until(lambda job: job.ended, number)
        assert job.state is JobState.FINISHED
        files |= {picture.file for picture in job.pictures}
    await store.approvals.ask(2, 20, now=False)
    await store.history.keep_query(OWNER, Query(search=SECRET[:20]))
    plan = GridPlan(prompt=SECRET, given={}, private=True, seed=1, axes=(axis("steps", "1, 2"),))
    await store.grids.propose(OWNER, plan)
    uploads = dict.fromkeys(("init_picture", "control_picture", "image_prompt"), start)
    for name in MODALS:
        values: dict[str, str | list[str]] = {"prompt": SECRET}
        with_mask = uploads | {"mask": mask}
        draft = Draft(name=name, where=("1", "0"), values=values, uploads=with_mask)
        draft = msgspec.structs.replace(draft, about=ABOUT.get(name, ""))
        if name == "edit_words":
            draft = draft_of(of_job(await rig.job(1)), values)
        number = await store.drafts.keep(OWNER, draft)
        assert NUMBERED[name] == str(number)
    info = msgspec.json.encode(Info(program="Fooocus", prompt=SECRET)).decode()
    await store.drafts.keep(OWNER, Draft(name="info", values={"info": info}))
    return files


def ids(template: str) -> Iterator[str]:
    """Custom_ids of a template: every branch of it, each number, a hash where one fits."""
    return map("".join, _texts(parser.parse(template)))


def _texts(parts: Any) -> Iterator[tuple[str, ...]]:
    return itertools.product(*(list(_part(*part)) for part in parts))


def _part(kind: Any, value: Any) -> Iterator[str]:
    match kind:
        case opcodes.LITERAL:
            yield chr(value)
        case opcodes.SUBPATTERN:
            yield from map("".join, _texts(value[3]))
        case opcodes.BRANCH:
            for branch in value[1]:
                yield from map("".join, _texts(branch))
        case opcodes.MAX_REPEAT:
            low, high, inner = value
            if inner[0][0] is not opcodes.IN:
                yield from ("", *map("".join, _texts(inner)))
            elif list(inner[0][1]) == [(opcodes.RANGE, (ord("0"), ord("9")))]:
                yield from NUMBERS[: 2 if high <= 9 else None]
            else:
                yield "a" * low if low == high else "night"
        case opcodes.IN:
            yield "a"
        case _:
            raise AssertionError(f"{kind} is new in a template")


def wheres(name: str, hashes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What may follow a modal's name in its custom_id."""
    yield ()
    for first in dict.fromkeys(("1", "2", NUMBERED[name], *hashes[:2])):
        yield (first,)
        yield from ((first, second) for second in ("0", "style"))
        yield ("style", first)
    yield ("-", "1.1", "2.1")
    yield ("guild", "blocklist")
    yield ("texts", "night")
    yield ("night",)


async def press(rig: Rig, person: int, custom_id: str, at: int, values: list[str]) -> Interaction:
    data = {"values": values, "component_type": 3}
    interaction = an_interaction(rig, COMPONENT, data, 5 * at, person=person)
    await use(rig, interaction, custom_id, values)
    return interaction


async def submit(rig: Rig, person: int, custom_id: str, at: int) -> Interaction:
    components = [
        {
            "type": 18,
            "component": {
                "type": 4,
                "custom_id": name,
                "values" if isinstance(value, list) else "value": value,
            },
        }
        for name, value in ENTERED.items()
    ]
    data = {"custom_id": custom_id, "components": components}
    interaction = an_interaction(rig, MODAL, data, 5 * at, person=person)
    await rig.client.on_interaction(interaction)
    return interaction


def seen(interaction: Interaction) -> str:
    """All that an answer shows."""
    answers = interaction.answers
    modal = "" if answers.modal is None else str(answers.modal.to_dict())
    return f"{answers.said} {answers.bodies} {modal}"


async def check_hidden(rig: Rig, hidden: set[str], interaction: Interaction, what: str) -> None:
    """Nothing of it was shown, and nothing made of it."""
    shown = seen(interaction)
    assert not any(text.startswith(INCIDENT) for text in interaction.answers.said), what
    assert SECRET not in shown, what
    assert not any(file in shown for file in hidden), what
    assert not interaction.answers.files, what
    store = rig.studio.store
    for number in range(3, await store.jobs.newest_id() + 1):
        job = await store.jobs.get(number)
        if job is not None and job.origin.user_id == OTHER:
            assert job.parent not in (1, 2), what
            assert not hidden & set(job.request.uploads), what
            assert SECRET not in job.request.prompt, what


@pytest.mark.slow
async def test_nobody_else_gets_at_it(rig: Rig, hidden: set[str]) -> None:
    at = 0
    hashes = sorted(hidden)
    for item in ITEMS:
        for custom_id in ids(item.__discord_ui_compiled_template__.pattern):
            for values in [["1"], ["2"]] if "entry" in custom_id or "pick" in custom_id else [[]]:
                at += 1
                interaction = await press(rig, OTHER, custom_id, at, values)
                await check_hidden(rig, hidden, interaction, custom_id)
    for name in MODALS:
        for where in wheres(name, hashes):
            at += 1
            custom_id = ":".join(("darkroom", name, *where))
            interaction = await submit(rig, OTHER, custom_id, at)
            await check_hidden(rig, hidden, interaction, custom_id)
    store = rig.studio.store
    for number in (1, 2):
        job = await rig.job(number)
        assert (job.state, job.request.prompt) == (JobState.FINISHED, SECRET)
    approval, grid = await store.approvals.of(2), await store.grids.get(1)
    assert approval is not None
    assert approval.verdict == "waiting"
    assert grid is not None
    assert grid.state == "proposed"


@pytest.mark.slow
async def test_its_owner_does(rig: Rig, hidden: set[str]) -> None:
    """So that what is tried above is what these items and dialogs are named."""
    hashes, at = sorted(hidden), 0
    await rig.studio.store.approvals.ask(1, 10, now=False)
    for name in MODALS:
        for where in wheres(name, hashes):
            at += 1
            interaction = await submit(rig, OWNER, ":".join(("darkroom", name, *where)), at)
            if not NOTHING & set(interaction.answers.said):
                break
        else:
            pytest.fail(f"no custom_id of {name} was right")
    for item in ITEMS:
        for custom_id in ids(item.__discord_ui_compiled_template__.pattern):
            at += 1
            interaction = await press(rig, OWNER, custom_id, at, ["1"])
            if not NOTHING & set(interaction.answers.said):
                break
        else:
            pytest.fail(f"no custom_id of {item.__name__} was right")


def test_a_picture_s_hash_is_in_no_custom_id() -> None:
    """Others may know it: whoever has a file made of a picture reads it there."""
    for item in ITEMS:
        for custom_id in ids(item.__discord_ui_compiled_template__.pattern):
            assert not re.search("a{64}", custom_id), item
