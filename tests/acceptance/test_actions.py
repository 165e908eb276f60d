"""Buttons and reactions: two doors to the same actions, for ever."""

import asyncio
from typing import Any

import pytest

from bot.background import BackgroundTasks, Lanes
from bot.features.actions import reactions
from bot.recent import Recent
from generation.catalog import Models
from generation.job import JobState
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, buttons, finished, reacted, with_limits
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE


async def next_picture(person: Person, channel: str, after: Json) -> Json:
    """The next message of the bot that comes to show pictures."""
    newer = await person.wait_for(
        "MESSAGE_CREATE",
        lambda message: int(message["id"]) > int(after["id"]) and message["author"].get("bot"),
    )
    return await finished(person, channel, newer)


async def delivered(rig: Rig, job_id: int) -> None:
    await rig.until(lambda job: job.delivered_at is not None, job_id)


async def test_the_button_rerolls(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    first = await imagine(ada, general, seed=7, steps=3)
    act = await bo.click(await bo.message(general, first["id"]), "Reroll")
    second = await finished(bo, general, await act.deferred())
    assert "reroll of #1" in second["embeds"][0]["footer"]["text"]
    job, parent = await rig.job(2), await rig.job(1)
    assert job.request == parent.request.with_(seed=job.request.seed)
    assert job.request.seed != 7
    assert job.parent == 1
    assert str(job.origin.user_id) == (await bo.state())["me"]["id"]


async def test_the_reaction_rerolls(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    first = await imagine(ada, general)
    await bo.react(first, "🔁")
    second = await next_picture(bo, general, first)
    assert second["message_reference"]["message_id"] == first["id"]
    assert (await rig.job(2)).parent == 1


@pytest.mark.parametrize("door", ["menu", "reaction"])
async def test_a_message_is_known_before_the_database_knows_it(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    add_message = rig.studio.jobs.add_message

    async def slow(*args: Any, **options: Any) -> None:
        await asyncio.sleep(0.5)
        await add_message(*args, **options)

    first = await imagine(ada, general, count=2)
    await delivered(rig, 1)
    monkeypatch.setattr(rig.studio.jobs, "add_message", slow)
    act = await ada.click(await ada.message(general, first["id"]), "darkroom:pick:1:1")
    picked = await act.response()
    if door == "menu":
        await (await ada.use_on_message("Upscale", picked)).deferred()
    else:
        await ada.react(picked, "🔍")
    job = await rig.until(lambda job: job.ended, 2)
    assert (job.action, job.parent_picture) == ("upscale", 1)


@pytest.mark.parametrize("door", ["button", "reaction"])
async def test_both_work_after_a_restart(rig: Rig, ada: Person, general: str, door: str) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    await rig.restart()
    if door == "button":
        act = await ada.click(await ada.message(general, first["id"]), "Reroll")
        await finished(ada, general, await act.deferred())
    else:
        await ada.react(first, "🔁")
        await next_picture(ada, general, first)
    assert (await rig.job(2)).parent == 1


async def test_other_reactions_and_other_messages_mean_nothing(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    chat = await ada.say(general, "hello")
    await ada.react(chat, "🔁")
    await ada.react(first, "👍")
    await ada.react(first, "⛔")
    await reacted(rig, ada, first)
    assert await rig.studio.jobs.get(2) is None


@pytest.mark.slow
async def test_what_the_limits_forbid_is_not_offered_and_by_reaction_refused(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.config = with_limits(rig.config, upscaled_side=128)
    await rig.restart()
    first = await imagine(ada, general)
    await delivered(rig, 1)
    await ada.wait_for(
        "MESSAGE_REACTION_ADD",
        lambda r: r["emoji"]["name"] == "❌" and r["message_id"] == first["id"],
    )
    shown = await ada.message(general, first["id"])
    assert "Upscale" not in buttons(shown)
    assert "🔍" not in {reaction["emoji"]["name"] for reaction in shown["reactions"]}
    dm = await ada.channel("dm")
    await ada.react(first, "🔍")
    told = await ada.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    assert "at most 128 pixels a side" in told["content"]


async def test_who_reacts_more_often_than_can_be_answered_is_told_once_a_minute(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    chat = await ada.say(general, "hello")
    gate, on_reaction, on_left_out = asyncio.Event(), reactions.on_reaction, reactions.on_left_out
    left_out: list[str] = []

    async def held(client: Any, payload: Any) -> None:
        await gate.wait()
        await on_reaction(client, payload)

    async def counted(client: Any, payload: Any) -> None:
        await on_left_out(client, payload)
        left_out.append(payload.emoji.name)

    async def left(emoji: str, message: Json = first) -> None:
        before = len(left_out)
        await ada.react(message, emoji)
        async with asyncio.timeout(PATIENCE):
            while len(left_out) == before:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(reactions, "on_reaction", held)
    monkeypatch.setattr(reactions, "on_left_out", counted)
    lanes = Lanes(BackgroundTasks(), at_once=1, each=1, all_=9)
    monkeypatch.setattr(rig.client, "_reactions", lanes)
    await ada.react(first, "🔁")
    async with asyncio.timeout(PATIENCE):
        while lanes._workers != 1 or len(lanes):
            await asyncio.sleep(0.01)
    await ada.react(first, "⭐")
    dm = await ada.channel("dm")
    # what would have meant nothing is nobody's loss
    await left("👍")
    await left("🔍", chat)
    assert await ada.messages(dm) == []
    await left("❌")
    await left("🎲")
    [told] = await ada.messages(dm)
    assert "more often than can be answered" in told["content"]
    monkeypatch.setattr(rig.client, "told", Recent(0))
    await left("✏️")
    assert len(await ada.messages(dm)) == 2
    gate.set()
    job = await rig.until(lambda job: job.delivered_at is not None, 2)
    assert (job.parent, job.action) == (1, "reroll"), "what was not left out is answered"


async def test_cancel_while_it_runs(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    gate = rig.engine.gate = asyncio.Event()
    act = await ada.command(general, "imagine", prompt="a lighthouse", steps=50)
    waiting = await act.deferred()
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == waiting["id"] and "%" in m["content"])
    refused = await (await bo.click(await bo.message(general, waiting["id"]), "Cancel")).response()
    assert "Only the person who asked" in refused["content"]
    assert refused["flags"] & 64
    cancel = await ada.click(await ada.message(general, waiting["id"]), "Cancel")
    await cancel.wait_for("INTERACTION_SUCCESS")
    gate.set()
    job = await rig.until(lambda job: job.delivered_at is not None)
    assert job.state is JobState.CANCELLED
    shown = await ada.message(general, waiting["id"])
    assert "Cancelled" in shown["embeds"][0]["description"]
    assert buttons(shown) == ["Edit and try again"]


async def test_cancel_while_it_waits(rig: Rig, ada: Person, general: str) -> None:
    gate = rig.engine.gate = asyncio.Event()
    await ada.command(general, "imagine", prompt="first")
    await rig.until(lambda job: job.state is JobState.RUNNING)
    act = await ada.command(general, "imagine", prompt="second")
    waiting = await act.deferred()
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == waiting["id"])
    await ada.click(await ada.message(general, waiting["id"]), "Cancel")
    job = await rig.until(lambda job: job.delivered_at is not None, 2)
    assert job.state is JobState.CANCELLED
    gate.set()
    await rig.until(lambda job: job.state is JobState.FINISHED, 1)
    assert rig.engine.began == ["1"]


@pytest.mark.parametrize("door", ["button", "reaction"])
async def test_delete_is_for_the_owner_and_moderators(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, door: str
) -> None:
    first = await imagine(bo, general)
    cy = await control.person("cy")
    if door == "button":
        act = await cy.click(await cy.message(general, first["id"]), "Delete")
        assert "Only the person" in (await act.response())["content"]
    else:
        await cy.react(first, "❌")
        dm = await cy.channel("dm")
        await cy.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    assert (await bo.message(general, first["id"]))["id"] == first["id"]
    if door == "button":
        await bo.click(await bo.message(general, first["id"]), "Delete")
    else:
        await bo.react(first, "❌")
    await bo.wait_for("MESSAGE_DELETE", lambda m: m["id"] == first["id"])


async def test_a_reroll_of_a_model_that_is_gone_is_refused(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await imagine(ada, general)
    monkeypatch.setattr(rig.studio.catalog, "_models", Models())
    act = await ada.click(await ada.message(general, first["id"]), "Reroll")
    assert "no model “demo”" in (await act.response())["content"]
    assert await rig.studio.jobs.get(2) is None
