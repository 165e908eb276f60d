"""Results that Discord does not take, events that come twice, posts whose answer is lost."""

import asyncio
from typing import Any

import pytest

from bot.delivery import results
from bot.features.actions.reply import InteractionReply
from bot.pictures.decoding_process import DecodingProcess
from generation.engines.fake import FakeEngine
from generation.job import JobState
from playground.person import Person
from storage.errors import DatabaseBusyError
from storage.job_reader import JobReader
from storage.jobs import JobStore
from tests.acceptance.conftest import Rig, buttons, made_up_for, reacted, with_limits
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_answered_once import at_rest
from tests.acceptance.test_faults import begin, shown_pictures
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_retry import answer_to
from tests.acceptance.test_servers import say
from tests.patience import PATIENCE

PATCH = {"method": "PATCH", "times": 1000}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 400, "code": 50035, "files": True}, "does not take the answer"),
        ({"status": 413, "code": 40005, "files": True}, "too large for Discord"),
        ({"status": 400, "code": 240000, "files": True}, "own filter"),
    ],
    ids=["invalid", "too large at any size", "blocked"],
)
async def test_the_owner_of_a_refused_result_is_told_in_words(
    rig: Rig, ada: Person, general: str, fault: dict[str, Any], said: str
) -> None:
    await rig.control.fault("/messages/@original", **PATCH, **fault)
    act = await ada.command(general, "imagine", prompt="a lighthouse")
    message = await act.deferred()
    await delivered(rig, 1)
    shown = await ada.message(general, message["id"])
    assert said in shown["content"]
    assert shown["attachments"] == []
    assert "Parameters" in "".join(buttons(shown))
    # it is dealt with: the next start does not post it again
    await rig.control.clear_faults()
    await rig.restart()
    await made_up_for(rig)
    assert said in (await ada.message(general, message["id"]))["content"]


async def test_a_result_that_can_t_be_put_together_is_told_in_words(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise KeyError("a parameter that is missing")

    monkeypatch.setattr("bot.ui.job_embeds.ended", broken)
    act = await ada.command(general, "imagine", prompt="a lighthouse")
    message = await act.deferred()
    await delivered(rig, 1)
    shown = await ada.message(general, message["id"])
    assert "went wrong" in shown["content"]
    assert "KeyError" not in shown["content"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "broken"])
async def test_a_picture_whose_file_is_lost_is_named_and_not_posted(
    rig: Rig, ada: Person, general: str, damage: str
) -> None:
    await rig.control.fault("/messages/@original", status=503, **PATCH)
    act = await ada.command(general, "imagine", prompt="a lighthouse", count=2)
    message = await act.deferred()
    await rig.until(lambda job: job.state is JobState.FINISHED)
    lost = (await rig.job(1)).pictures[0].file
    [file] = (rig.config.storage.folder / "pictures").rglob(f"{lost}*")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9] + b"wrong end")
    await rig.restart()
    await rig.control.clear_faults()
    await delivered(rig, 1)
    shown = await ada.message(general, message["id"])
    assert "gone or damaged" in shown["content"]
    assert [file["filename"] for file in shown["attachments"]] == ["darkroom-1-2.png"]


@pytest.mark.parametrize("broken", ["file", "decoder"])
async def test_a_picture_that_can_t_be_made_lighter_is_named_and_not_posted(
    rig: Rig,
    ada: Person,
    general: str,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither in a result that Discord finds too large, nor when one picture is asked for."""
    monkeypatch.setattr(results, "upload_limit", lambda *_: 1)
    monkeypatch.setattr(InteractionReply, "file_limit", 1)
    if broken == "file":
        # whole, as its hash says, and yet no picture
        monkeypatch.setattr(JobReader, "read_picture", _no_picture)
    else:
        nothing = DecodingProcess(memory=2**20, command=("no-such-program-here",))
        monkeypatch.setattr(rig.studio.decoder, "_own", nothing)
    act = await ada.command(general, "imagine", prompt="a lighthouse", count=2)
    message = await act.deferred()
    await delivered(rig, 1)
    shown = await ada.message(general, message["id"])
    words = ("gone or damaged", "/replay") if broken == "file" else ("too large", "/history")
    assert all(word in shown["content"] for word in words)
    assert shown["attachments"] == []
    for button in ("darkroom:pick:1:0", "Parameters"):
        act = await ada.click(shown, button)
        said = await answer_to(act)
        assert all(word in said["content"] for word in (words[0], "request #1"))
    assert "Traceback" not in caplog.text


async def _no_picture(*_args: object) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes(100)


async def test_an_interaction_that_comes_twice_makes_one_job(
    rig: Rig, ada: Person, general: str
) -> None:
    await rig.control.gateway("twice", event="INTERACTION_CREATE", times=1)
    first = await imagine(ada, general)
    await rig.control.gateway("twice", event="INTERACTION_CREATE", times=1)
    await (await ada.click(first, "darkroom:reroll:1")).deferred()
    await delivered(rig, 2)
    await rig.control.gateway("twice", event="INTERACTION_CREATE", times=1)
    answer = await (await ada.click(first, "darkroom:favourite:1")).response()
    assert "favourites" in answer["content"]
    # the second events have come before this one
    await say(ada, general, "settings")
    await at_rest(rig)
    assert await rig.studio.jobs.get(3) is None
    assert await rig.client.services.requests.made.is_favourite(
        int((await ada.state())["me"]["id"]), await rig.job(1), None
    ), "the second event took it back"


async def test_a_reaction_that_comes_twice_makes_one_job(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    await rig.control.gateway("twice", event="MESSAGE_REACTION_ADD", times=1)
    await ada.react(first, "🔁")
    await delivered(rig, 2)
    await reacted(rig, ada, first)
    assert await rig.studio.jobs.get(3) is None
    # taken away and given again it is meant
    await ada.unreact(first, "🔁")
    await ada.react(first, "🔁")
    await delivered(rig, 3)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", [{"reset": True}, {"status": 503}, {"drop": True}], ids=str)
async def test_a_post_whose_answer_is_lost_is_found_again(
    rig: Rig, ada: Person, general: str, how: dict[str, Any], restart: bool
) -> None:
    """Also after Discord has forgotten its nonce."""
    first = await imagine(ada, general)
    await delivered(rig, 1)
    rig.engine.gate = asyncio.Event()
    await rig.control.fault(f"/channels/{general}/messages$", method="POST", after=True, **how)
    await ada.react(first, "🔁")
    await rig.until(lambda job: job.state is JobState.RUNNING, 2)
    posted = [m for m in await ada.messages(general) if m["id"] != first["id"]]
    await rig.control.forget_nonces()
    if restart:
        await rig.restart()
    else:
        rig.engine.gate.set()
    await delivered(rig, 2)
    later = [m for m in await ada.messages(general) if m["id"] != first["id"]]
    assert len(later) == 1, "one is left standing beside the other"
    assert not posted or later[0]["id"] == posted[0]["id"]
    assert later[0]["attachments"]


async def test_a_post_whose_answer_is_lost_is_found_again_in_a_busy_channel(
    rig: Rig, ada: Person, general: str
) -> None:
    """With more talk since than one look at the channel reads."""
    first = await imagine(ada, general)
    await delivered(rig, 1)
    rig.engine.gate = asyncio.Event()
    path = f"/channels/{general}/messages$"
    await rig.control.fault(path, method="POST", after=True, drop=True)
    await ada.react(first, "🔁")
    await rig.until(lambda job: job.state is JobState.RUNNING, 2)
    async with asyncio.timeout(PATIENCE):
        while len(posted := await ada.messages(general)) < 2:
            await asyncio.sleep(0.02)
    await rig.stop()
    await rig.control.forget_nonces()
    for number in range(105):
        await ada.say(general, f"talk {number}")
    rig.engine = FakeEngine(step_seconds=0.01)
    await rig.start()
    await delivered(rig, 2)
    [second] = [m for m in posted if m["id"] != first["id"]]
    assert (await ada.message(general, second["id"]))["attachments"]


async def test_a_result_is_noted_when_the_database_is_free_again(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = 5
    mark = JobStore.mark_delivered

    async def locked(self: JobStore, job_id: int) -> None:
        nonlocal busy
        if busy:
            busy -= 1
            raise DatabaseBusyError("database is locked")
        await mark(self, job_id)

    monkeypatch.setattr(JobStore, "mark_delivered", locked)
    message = await imagine(ada, general)
    await delivered(rig, 1)
    assert busy == 0
    await ada.delete(message)
    await rig.restart()
    await made_up_for(rig)
    assert await shown_pictures(ada, general) == []


async def test_what_is_deleted_while_it_is_delivered_leaves_nothing(
    rig: Rig, ada: Person, general: str
) -> None:
    await begin(rig, ada, general)
    await rig.control.fault("/messages/@original", method="PATCH", files=True, delay=0.5)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    job = await rig.until(lambda job: job.state is JobState.FINISHED)
    await asyncio.sleep(0.2)
    await rig.studio.store.personal.delete_job(job.id)
    await asyncio.sleep(1)
    assert await shown_pictures(ada, general) == []


@pytest.mark.slow
async def test_a_hundred_reactions_are_answered_within_the_limits(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await imagine(ada, general)
    await delivered(rig, 1)
    emoji = ["🔁", "🪄", "🎲", "📋", "❌"]
    for _ in range(20):
        for one in emoji:
            await bo.react(message, one)
            await bo.unreact(message, one)
    await reacted(rig, ada, message)
    lanes = rig.client._reactions
    async with asyncio.timeout(PATIENCE):
        while lanes._workers or len(lanes):
            await asyncio.sleep(0.02)
    limits = await rig.control.rate_limits()
    assert limits["refused"] <= 3, limits
    dm = await bo.channel("dm")
    told = [m["content"] for m in await bo.messages(dm)]
    waiting = [text for text in told if "wait" in text]
    assert len(waiting) <= 1, "told more than once a minute"


@pytest.mark.slow
async def test_a_finished_job_costs_few_edits_of_others_messages(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await rig.stop()
    rig.config = with_limits(rig.config, waiting=100)
    await rig.start()
    gate = rig.engine.gate = asyncio.Event()
    for number in range(40):
        person = (ada, bo)[number % 2]
        await (await person.command(general, "imagine", prompt=f"{number}")).deferred()
    told = 0
    while told < 39:
        requests = await rig.control.requests()
        edits = [r for r in requests if r["method"] == "PATCH" and r["status"] == 200]
        told = len({request["path"] for request in edits})
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    await rig.control.forget_requests()
    # one passes; the next stops at the gate again
    rig.engine.gate = asyncio.Event()
    gate.set()
    await delivered(rig, 1)
    await asyncio.sleep(2)
    requests = await rig.control.requests()
    edited = [r["path"] for r in requests if r["method"] == "PATCH" and not r["files"]]
    assert 1 <= len(edited) <= 10, edited
