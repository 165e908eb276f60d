"""Pictures described: by /describe, from any message, under a result; and imagined again."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, png, press
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_own_presets import id_of
from tests.acceptance.test_pictures import last_job
from tests.acceptance.test_retry import RETRY
from tests.fixtures.onnx_files import write_wd_tagger

PROMPT = r"hatsune miku, red apple \(fruit\)"
"""What the fake engine's tags make."""


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a tagger that rates pictures."""
    write_wd_tagger(tmp_path / "models" / "wd14_tagger" / "wd-vit-tagger-v3", side=16)
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(tmp_path / "models",)))


def fields(message: Json) -> dict[str, str]:
    return {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}


def labels(message: Json) -> list[str]:
    return [
        item.get("label", "") for row in message["components"] for item in row.get("components", [])
    ]


async def described(person: Person, channel: str, **options: object) -> Json:
    file = await person.upload("photo.png", png("red", (90, 61)))
    act = await person.command(channel, "describe", picture=file, **options)
    return await finished(person, channel, await act.deferred())


@pytest.mark.parametrize("door", ["command", "menu"])
async def test_any_picture_is_described(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    if door == "menu":
        posted = await ada.say_with_file(general, "photo.png", png("red", (90, 61)))
        act = await bo.use_on_message("Describe", posted)
        shown = await finished(bo, general, await act.deferred())
    else:
        shown = await described(bo, general)
    embed = shown["embeds"][0]
    assert embed["description"] == f"```\n{PROMPT}\n```"
    assert fields(shown) == {
        "Characters": "hatsune miku",
        "Rating": "general 90 %, sensitive 8 %",
        "Size": "90 × 61",
        "Tagger": "wd-vit-tagger-v3",
    }
    [file] = shown["attachments"]
    assert (file["width"], file["height"]) == (90, 61)
    assert labels(shown) == ["Imagine this", "Delete"]
    job = await rig.job(1)
    assert (job.action, job.state, job.pictures) == ("describe", JobState.FINISHED, ())
    assert job.description is not None
    assert job.provenance is not None
    assert set(job.provenance.hashes) == {"tagger:wd-vit-tagger-v3"}
    # it is found again by what was seen
    entry = await (await bo.command(general, "history", search="apple")).response()
    assert "hatsune miku" in str(entry)
    nothing = await (await bo.command(general, "history", search="pear")).response()
    assert "hatsune miku" not in str(nothing)


async def test_imagine_this_opens_the_dialog_and_draws_what_comes_of_it(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    shown = await described(ada, general)
    await rig.restart()
    # anybody who sees it may
    act = await bo.click(await bo.message(general, shown["id"]), "Imagine this")
    assert PROMPT in json.dumps(await act.modal()).replace("\\\\", "\\")
    act = await act.submit(prompt="red apple, on a table", parameters="steps: 5")
    await finished(bo, general, await act.deferred())
    job = await last_job(rig)
    assert (job.request.prompt, job.request.steps) == ("red apple, on a table", 5)
    assert (job.origin.user_id, job.action) == (int(await id_of(bo)), "imagine_this")
    # of an upload it comes of what was said of it
    assert (job.parent, job.parent_picture) == (1, None)
    assert job.request.describing is None
    act = await bo.click(await bo.message(general, shown["id"]), "Imagine this")
    await act.modal()
    sent = await act.submit(prompt="a pear", parameters="steps: many")
    act = await bo.click(await sent.response(), RETRY)
    assert "a pear" in str(await act.modal())
    await (await act.submit(prompt="a pear", parameters="steps: 4")).deferred()
    job = await last_job(rig)
    assert (job.request.prompt, job.action, job.parent) == ("a pear", "imagine_this", 1)


async def test_a_picture_that_was_drawn_here_is_described_by_its_button(
    rig: Rig, ada: Person, general: str
) -> None:
    four = await imagine(ada, general, count=4, seed=10)
    await delivered(rig, 1)
    which = await (await ada.use_on_message("Describe", four)).response()
    act = await ada.click(which, "darkroom:describe:1:2")
    shown = await finished(ada, general, await act.deferred())
    job = await last_job(rig)
    assert (job.parent, job.parent_picture, job.action) == (1, 2, "describe")
    assert job.request.describing is not None
    assert job.request.describing.picture == (await rig.job(1)).pictures[2].file
    assert shown["embeds"][0]["footer"]["text"].startswith("#2 · description of #1")
    act = await ada.click(shown, "Imagine this")
    act = await act.submit(prompt="a lamp")
    await finished(ada, general, await act.deferred())
    job = await last_job(rig)
    assert (job.parent, job.parent_picture, job.action) == (1, 2, "imagine_this")
    one = await imagine(ada, general, seed=1)
    act = await press(ada, one, "Describe")
    await finished(ada, general, await act.deferred())


async def test_only_its_owner_sees_a_private_answer(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    file = await ada.upload("photo.png", png("red"))
    act = await ada.command(general, "describe", picture=file, private=True)
    message = await act.deferred()
    shown = await finished(ada, general, message)
    assert shown["flags"] & 64
    assert shown["id"] not in [each["id"] for each in await bo.messages(general)]
    act = await ada.click(shown, "Imagine this")
    opened = await act.modal()
    # what comes of it is private too, unless they say otherwise
    assert "private: yes" in str(opened)
    entry = await (await bo.command(general, "history")).response()
    assert "hatsune" not in str(entry)


async def test_a_restart_in_the_middle_loses_nothing(rig: Rig, ada: Person, general: str) -> None:
    rig.engine.gate = asyncio.Event()
    file = await ada.upload("photo.png", png("red"))
    act = await ada.command(general, "describe", picture=file)
    message = await act.deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    await rig.restart()
    shown = await finished(ada, general, message)
    assert PROMPT in shown["embeds"][0]["description"]
    # once
    await rig.until(lambda job: job.delivered_at is not None)
    assert await rig.studio.jobs.get(2) is None


async def test_it_waits_is_cancelled_and_counts_as_one_picture(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    await rig.studio.store.settings.change_guild(guild, quota=2)
    rig.engine.gate = asyncio.Event()
    acts = []
    for _ in range(3):
        file = await ada.upload("photo.png", png("red"))
        acts.append(await ada.command(general, "describe", picture=file))
        if len(acts) < 3:
            waiting = await acts[-1].deferred()
            # it is written down once the picture is fetched
            await rig.until(lambda job: not job.ended, len(acts))
    assert "2 pictures" in (await acts[-1].response())["content"]
    await ada.wait_for(
        "MESSAGE_UPDATE", lambda m: m["id"] == waiting["id"] and labels(m) == ["Cancel"]
    )
    await ada.click(await ada.message(general, waiting["id"]), "Cancel")
    await rig.until(lambda job: job.state is JobState.CANCELLED, 2)
    rig.engine.gate.set()
    await rig.until(lambda job: job.state is JobState.FINISHED, 1)


async def test_again_says_whether_it_saw_the_same(rig: Rig, ada: Person, general: str) -> None:
    await described(ada, general)
    await delivered(rig, 1)
    act = await ada.command(general, "replay", job=1)
    again = await finished(ada, general, await act.deferred())
    assert "The same as #1" in again["content"]


async def test_a_failure_is_tried_again_without_a_dialog(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.engine.failures.append("model_labels_wrong")
    file = await ada.upload("photo.png", png("red"))
    failed = await (await ada.command(general, "describe", picture=file)).deferred()
    await rig.until(lambda job: job.delivered_at is not None, 1)
    act = await ada.click(await ada.message(general, failed["id"]), "darkroom:retry:1")
    await finished(ada, general, await act.deferred())
    first, again = await rig.job(1), await rig.job(2)
    assert again.request == first.request


@pytest.mark.parametrize(("check", "unsafe", "shown"), [("block", 0.9, 0), ("block", 0.1, 1)])
async def test_what_the_check_finds_in_it_is_held_back(
    rig: Rig, ada: Person, general: str, check: str, unsafe: float, shown: int
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    await rig.studio.store.settings.change_guild(guild, picture_check=check)
    rig.engine.unsafe = (unsafe,)
    file = await ada.upload("photo.png", png("red"))
    message = await (await ada.command(general, "describe", picture=file)).deferred()
    await rig.until(lambda job: job.delivered_at is not None, 1)
    found = await ada.message(general, message["id"])
    assert len(found["attachments"]) == shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"style": "caption"}, "models/LLM/Florence-2-base"),
        ({"style": "both"}, "models/LLM/Florence-2-base"),
    ],
)
async def test_what_is_not_there_is_said_before_anything_is_fetched(
    rig: Rig, ada: Person, general: str, options: dict[str, object], says: str
) -> None:
    file = await ada.upload("photo.png", png("red"))
    answer = await (await ada.command(general, "describe", picture=file, **options)).response()
    assert says in answer["content"]
    assert await rig.studio.jobs.get(1) is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("words.txt", b"no picture", "words.txt"),
        ("one.png", png("red", (1, 1)), "only 1 × 1 pixels"),
    ],
)
async def test_odd_files(
    rig: Rig, ada: Person, general: str, name: str, content: bytes, says: str
) -> None:
    file = await ada.upload(name, content)
    await ada.command(general, "describe", picture=file)
    await ada.wait_for("MESSAGE_CREATE", lambda m: says in m["content"])
    assert await rig.studio.jobs.get(1) is None


async def test_a_message_without_a_picture(rig: Rig, ada: Person, general: str) -> None:
    posted = await ada.say(general, "no picture")
    answer = await (await ada.use_on_message("Describe", posted)).response()
    assert "no picture" in answer["content"]


@pytest.mark.parametrize(("named", "there"), [("", True), ("off", False)])
async def test_a_tagger_is_a_picture_check_unless_there_shall_be_none(
    config: Config, rig: Rig, ada: Person, general: str, named: str, *, there: bool
) -> None:
    replace = msgspec.structs.replace
    rig.config = replace(config, worker=replace(config.worker, picture_check_model=named))
    await rig.restart()
    panel = await (await ada.command(general, "settings")).response()
    act = await ada.click(panel, "darkroom:settings:guild", ["picture_check"])
    act = await act.submit(value=["block"])
    guild = int((await ada.state())["guilds"][0]["id"])
    if not there:
        assert "no picture check here" in (await act.response())["content"]
        return
    await act.wait_for("INTERACTION_SUCCESS")
    assert (await rig.studio.store.settings.guild(guild)).picture_check == "block"
    rig.engine.unsafe = (0.9,)
    act = await ada.command(general, "imagine", prompt="a lighthouse")
    message = await act.deferred()
    await rig.until(lambda job: job.delivered_at is not None)
    assert (await ada.message(general, message["id"]))["attachments"] == []
