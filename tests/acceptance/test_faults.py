"""What goes wrong on the way: restarts, dead tokens, a Discord that stumbles. Delivered once."""

import asyncio
from typing import Any

import discord
import msgspec
import pytest

from bot.delivery import failures, tracker
from bot.delivery.job_message import JobMessage
from bot.delivery.results import Results
from bot.delivery.tracker import Tracker
from bot.pictures import file_texts
from generation.engines.fake import FakeEngine
from generation.job import Job, JobState
from playground.control import Control
from playground.person import Person
from storage.errors import DatabaseBusyError
from storage.jobs import JobStore
from storage.picture_store import ObjectStoreError
from storage.pictures import PictureFiles
from tests.acceptance.conftest import EDIT_EVERY, Json, Rig, finished, made_up_for
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE


async def shown_pictures(person: Person, channel: str) -> list[Json]:
    """The messages that show finished pictures."""
    return [
        message
        for message in await person.messages(channel)
        if any("darkroom" in file["filename"] for file in message["attachments"])
    ]


async def begin(rig: Rig, person: Person, channel: str, **options: object) -> Json:
    """A request that hangs at its first step."""
    rig.engine.gate = asyncio.Event()
    act = await person.command(channel, "imagine", **{"prompt": "a lighthouse", **options})
    message = await act.deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    return message


async def test_a_restart_while_it_runs(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await begin(rig, ada, general)
    monkeypatch.setattr(tracker, "ACKNOWLEDGED_WITHIN", 1000)
    await rig.restart()
    await finished(ada, general, message)
    await delivered(rig, 1)
    assert [m["id"] for m in await shown_pictures(ada, general)] == [message["id"]]
    assert (await rig.job(1)).attempts == 1


async def test_what_is_claimed_while_the_bot_looks_what_was_left_needs_no_acknowledgement(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await begin(rig, ada, general)
    monkeypatch.setattr(tracker, "ACKNOWLEDGED_WITHIN", 1000)
    looked, claim, recover = asyncio.Event(), JobStore.claim, Tracker.recover

    async def slow_to_tell(jobs: JobStore, job_id: int, worker: str) -> Job | None:
        job = await claim(jobs, job_id, worker)
        await looked.wait()
        return job

    async def looking(delivery: Tracker) -> None:
        await rig.until(lambda job: job.state is JobState.RUNNING)
        await recover(delivery)
        looked.set()

    monkeypatch.setattr(JobStore, "claim", slow_to_tell)
    monkeypatch.setattr(Tracker, "recover", looking)
    await rig.restart()
    await finished(ada, general, message)
    await delivered(rig, 1)
    assert [m["id"] for m in await shown_pictures(ada, general)] == [message["id"]]


async def test_who_is_being_answered_gets_the_answer_before_the_bot_stops(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    history = rig.studio.store.history
    page = history.page

    async def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.5)
        return await page(*args, **options)

    monkeypatch.setattr(history, "page", slow)
    act = await ada.command(general, "history")
    await begun.wait()
    await rig.stop()
    assert "no pictures yet" in (await act.response())["content"]
    await rig.start()


async def test_a_restart_while_it_waits(rig: Rig, ada: Person, general: str) -> None:
    await begin(rig, ada, general)
    act = await ada.command(general, "imagine", prompt="second")
    second = await act.deferred()
    await rig.restart()
    await finished(ada, general, second)
    await delivered(rig, 1)
    await delivered(rig, 2)
    assert len(await shown_pictures(ada, general)) == 2


async def test_a_restart_between_the_end_and_the_delivery(
    rig: Rig, ada: Person, general: str
) -> None:
    await rig.control.fault("/webhooks/", method="PATCH", status=503, times=1000)
    await rig.control.fault("/channels/", status=503, times=1000)
    await ada.command(general, "imagine", prompt="a lighthouse")
    await rig.until(lambda job: job.state is JobState.FINISHED)
    await rig.stop()
    await rig.control.clear_faults()
    assert await shown_pictures(ada, general) == []
    rig.engine = FakeEngine()
    await rig.start()
    await delivered(rig, 1)
    assert len(await shown_pictures(ada, general)) == 1
    await rig.restart()
    await made_up_for(rig)
    assert len(await shown_pictures(ada, general)) == 1
    assert rig.engine.began == []


async def test_a_restart_between_the_delivery_and_its_note(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(_job_id: int) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(rig.studio.jobs, "mark_delivered", dies)
    await imagine(ada, general)
    await rig.restart()
    await delivered(rig, 1)
    assert len(await shown_pictures(ada, general)) == 1


@pytest.mark.parametrize("private", [False, True])
async def test_the_token_has_ended(rig: Rig, ada: Person, general: str, *, private: bool) -> None:
    message = await begin(rig, ada, general, private=private)
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == message["id"])
    await rig.control.clock(16 * 60)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    where = await ada.channel("dm") if private else general
    [shown] = await shown_pictures(ada, where)
    assert (shown["id"] == message["id"]) is not private


@pytest.mark.parametrize("private", [False, True])
async def test_an_acknowledgement_that_takes_its_time_is_waited_for(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    defer = discord.InteractionResponse.defer

    async def late(*args: Any, **options: Any) -> None:
        await asyncio.sleep(0.4)
        await defer(*args, **options)

    monkeypatch.setattr(discord.InteractionResponse, "defer", late)
    message = await imagine(ada, general, private=private)
    await delivered(rig, 1)
    assert [m["id"] for m in await shown_pictures(ada, general)] == [message["id"]]
    assert await ada.messages(await ada.channel("dm")) == []


async def test_a_private_request_that_waits_long_is_told_of_once(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await begin(rig, ada, general, private=True)
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == message["id"])
    await rig.control.clock(16 * 60)
    first = await rig.job(1)
    # as from a reaction: four that share one token would wait for its rate limit
    origin = msgspec.structs.replace(first.origin, interaction=None)
    for number in range(3):
        await rig.studio.jobs.add(first.request, origin)
        rig.studio.workers.tell(await rig.job(2 + number))
        await asyncio.sleep(EDIT_EVERY)
    dm = await ada.channel("dm")
    assert await ada.messages(dm) == []
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    for job in range(1, 5):
        await delivered(rig, job)
    assert len(await ada.messages(dm)) == 4


@pytest.mark.parametrize("code", [30046, 50083])
async def test_a_message_that_takes_no_more_edits_is_followed_by_another(
    rig: Rig, ada: Person, general: str, code: int
) -> None:
    message = await begin(rig, ada, general)
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == message["id"])
    await rig.control.clock(16 * 60)
    await rig.control.fault("/messages/", method="PATCH", status=400, code=code, times=100)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    assert len(await shown_pictures(ada, general)) == 1


async def test_who_takes_no_direct_messages_is_given_up_on(
    rig: Rig, ada: Person, general: str
) -> None:
    await begin(rig, ada, general, private=True)
    await rig.control.clock(16 * 60)
    dm = await ada.channel("dm")
    await rig.control.fault(f"/channels/{dm}/", method="POST", status=403, code=50007, times=100)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    assert await shown_pictures(ada, dm) == []


async def test_an_outage_longer_than_every_wait_loses_nothing(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await begin(rig, ada, general)
    await rig.control.fault("/webhooks/", method="PATCH", drop=True, times=1000)
    await rig.control.fault("/channels/", drop=True, times=1000)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await rig.until(lambda job: job.state is JobState.FINISHED)
    await asyncio.sleep(3 * sum(failures.RETRIES))
    await rig.control.clear_faults()
    await finished(ada, general, message)
    await delivered(rig, 1)


async def test_the_message_was_deleted_meanwhile(rig: Rig, ada: Person, general: str) -> None:
    message = await begin(rig, ada, general)
    await ada.delete(message)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    [shown] = await shown_pictures(ada, general)
    assert shown["id"] != message["id"]


async def test_the_channel_was_deleted_meanwhile(rig: Rig, ada: Person) -> None:
    pictures = await ada.channel("pictures")
    await begin(rig, ada, pictures)
    await rig.control.delete_channel(pictures)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    assert len(await shown_pictures(ada, await ada.channel("dm"))) == 1


async def test_somebody_leaves_the_server_meanwhile(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await begin(rig, bo, general)
    guild = (await ada.state())["guilds"][0]["id"]
    await rig.control.remove_member(guild, (await bo.state())["me"]["id"])
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    assert len(await shown_pictures(ada, general)) == 1


async def test_the_bot_is_removed_from_the_server_meanwhile(
    rig: Rig, ada: Person, general: str
) -> None:
    await begin(rig, ada, general)
    state = await ada.state()
    await rig.control.remove_member(state["guilds"][0]["id"], state["application"]["bot"]["id"])
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)
    assert (await rig.job(1)).state is JobState.FINISHED


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 502}, {"drop": True}])
async def test_discord_stumbles(rig: Rig, ada: Person, general: str, fault: Json) -> None:
    message = await begin(rig, ada, general)
    await rig.control.fault("/webhooks/", method="PATCH", times=3, **fault)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await finished(ada, general, message)
    await delivered(rig, 1)


async def test_discord_says_slow_down(rig: Rig, ada: Person, general: str) -> None:
    message = await begin(rig, ada, general)
    await rig.control.fault("/webhooks/", method="PATCH", status=429, retry_after=0.3, times=2)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await finished(ada, general, message)


@pytest.mark.parametrize("do", ["drop", "reconnect", "invalid_session"])
async def test_the_gateway_breaks_off(
    rig: Rig, control: Control, ada: Person, general: str, do: str
) -> None:
    message = await begin(rig, ada, general)
    await control.gateway(do, resumable=do != "invalid_session")
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await finished(ada, general, message)
    rig.engine.gate = None
    async with asyncio.timeout(PATIENCE):
        while not (await ada.state())["application"]["online"]:
            await asyncio.sleep(0.05)
    await imagine(ada, general, prompt="after it")


async def test_a_picture_too_large_for_discord_is_shown_as_webp(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await begin(rig, ada, general)
    deliver = Results.deliver

    async def too_large(*args: Any) -> None:
        # not before: it would befall what is shown on the way
        await rig.control.fault("/webhooks/", method="PATCH", status=413, code=40005, times=2)
        await deliver(*args)

    monkeypatch.setattr(Results, "deliver", too_large)
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    shown = await finished(ada, general, message)
    assert [file["filename"] for file in shown["attachments"]] == ["darkroom-1-1.webp"]
    assert "too large for Discord" in shown["content"]
    job = await rig.job(1)
    original = await rig.studio.jobs.read_picture(job.pictures[0])
    assert original.startswith(b"\x89PNG")
    # the copy says how it was made, too
    _, copy = await rig.control.get(shown["attachments"][0]["url"])
    [before, after] = (file_texts.texts(each, "a picture") for each in (original, copy))
    assert after["darkroom"] == before["darkroom"]
    assert after["UserComment"] == before["parameters"]


@pytest.mark.parametrize("code", ["worker_died", "worker_hung"])
async def test_a_worker_that_dies_is_given_a_second_try(
    rig: Rig, ada: Person, general: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.worker.PAUSE_AFTER_FAULT", 0.01)
    rig.engine.failures = [code]
    await imagine(ada, general)
    assert rig.engine.began == ["1", "1"]
    rig.engine.failures = [code, code]
    act = await ada.command(general, "imagine", prompt="a dragon")
    message = await act.deferred()
    job = await rig.until(lambda job: job.delivered_at is not None, 2)
    assert job.state is JobState.FAILED
    shown = await ada.message(general, message["id"])
    assert "twice" in shown["embeds"][0]["description"]


async def test_a_job_that_fails_says_why(rig: Rig, ada: Person, general: str) -> None:
    rig.engine.failures = ["out_of_memory"]
    act = await ada.command(general, "imagine", prompt="a lighthouse")
    message = await act.deferred()
    await delivered(rig, 1)
    shown = await ada.message(general, message["id"])
    assert "ran out of memory" in shown["embeds"][0]["description"]
    assert rig.engine.began == ["1"]


async def test_pictures_whose_store_is_away_for_a_while_are_delivered_all_the_same(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the store of pictures nor the database makes a picture count as gone."""
    monkeypatch.setattr("bot.delivery.results.RETRIES", (0.01,))
    read, away = PictureFiles._read, iter([ObjectStoreError("no answer")] * 2)
    looked, busy = JobStore.messages_of, iter([DatabaseBusyError("locked")] * 2)

    async def slow(files: PictureFiles, sha256: str) -> bytes:
        for error in away:
            raise error
        return await read(files, sha256)

    async def locked(jobs: JobStore, job_id: int, kind: str) -> list[tuple[int, int]]:
        if kind == "result":
            for error in busy:
                raise error
        return await looked(jobs, job_id, kind)

    message = await begin(rig, ada, general)
    assert rig.engine.gate is not None
    while not await rig.studio.jobs.messages_of(1, "progress"):
        await asyncio.sleep(0.02)
    # as whoever takes it up after a restart, when its interaction is long over
    followed = rig.client.services.delivery._followed[1].message
    followed._known, followed._looked_up = None, False
    monkeypatch.setattr(JobMessage, "_webhook", lambda _: None)
    monkeypatch.setattr(PictureFiles, "_read", slow)
    monkeypatch.setattr(JobStore, "messages_of", locked)
    rig.engine.gate.set()
    await delivered(rig, 1)
    [shown] = await shown_pictures(ada, general)
    assert shown["id"] == message["id"]
    assert not list(away)
    assert not list(busy)
