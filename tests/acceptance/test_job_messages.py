"""What the message of a request shows on its way, and who is told that it is done."""

import asyncio

import pytest

from bot.delivery import tracker
from generation.engines.fake import FakeEngine
from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, press, with_limits
from tests.acceptance.test_imagine import imagine

ASKING = 40


async def wants_pings(rig: Rig, person: Person) -> int:
    user_id = int((await person.state())["me"]["id"])
    await rig.studio.store.settings.change_person(user_id, ping=True)
    return user_id


async def ping(person: Person) -> Json:
    return await person.wait_for("MESSAGE_CREATE", lambda message: message["mentions"])


async def test_the_prompt_and_who_asked_are_shown_while_it_waits_and_draws(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    rig.engine.step_seconds = 0.05
    prompt = "a castle @everyone <@1> " + "and a cloud " * 100
    act = await ada.command(general, "imagine", prompt=prompt, steps=40)
    message = await act.deferred()

    waiting = await bo.wait_for("MESSAGE_UPDATE", lambda update: update["embeds"])
    gate.set()
    running = await bo.wait_for(
        "MESSAGE_UPDATE", lambda update: update["id"] == message["id"] and "▰" in update["content"]
    )
    for shown in (waiting, running):
        [embed] = shown["embeds"]
        assert embed["author"]["name"] == "Ada"
        assert embed["description"].startswith("a castle")
        assert len(embed["description"]) <= 300
        assert shown["mentions"] == []
        assert not shown["mention_everyone"]


async def test_a_reroll_of_anothers_picture_names_both(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general)
    assert first["embeds"][0]["author"]["name"] == "Ada"
    act = await bo.click(await bo.message(general, first["id"]), "Reroll")
    second = await finished(bo, general, await act.deferred())
    assert second["embeds"][0]["author"]["name"] == "Bo · reroll of Ada’s #1"


async def test_who_wants_it_is_mentioned_when_it_is_done_and_nobody_else(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    user_id = await wants_pings(rig, ada)
    first = await imagine(bo, general)
    second = await imagine(ada, general)
    mention = await ping(ada)
    assert [int(one["id"]) for one in mention["mentions"]] == [user_id]
    assert mention["message_reference"]["message_id"] == second["id"]
    assert "#2 is done" in mention["content"]
    await rig.until(lambda job: job.delivered_at is not None, 2)
    replies = [m for m in await ada.messages(general) if m.get("message_reference")]
    assert [m["message_reference"]["message_id"] for m in replies] == [second["id"]]
    assert first["mentions"] == []


async def test_a_private_answer_mentions_its_owner_where_nobody_else_sees_it(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await wants_pings(rig, ada)
    await imagine(ada, general, private=True)
    mention = await ping(ada)
    assert mention["flags"] & 64
    assert await bo.messages(general) == []


async def test_a_failure_is_told_too(rig: Rig, ada: Person, general: str) -> None:
    await wants_pings(rig, ada)
    await rig.restart(FakeEngine(failures=("out_of_memory",)))
    await ada.command(general, "imagine", prompt="a castle")
    assert "could not be drawn" in (await ping(ada))["content"]


async def test_nobody_is_mentioned_who_cancelled(rig: Rig, ada: Person, general: str) -> None:
    await wants_pings(rig, ada)
    rig.engine.gate = asyncio.Event()
    message = await (await ada.command(general, "imagine", prompt="a castle")).deferred()
    await ada.wait_for("MESSAGE_UPDATE", lambda update: update["embeds"])
    cancel = await ada.click(await ada.message(general, message["id"]), "Cancel")
    await cancel.wait_for("INTERACTION_SUCCESS")
    rig.engine.gate.set()
    job = await rig.until(lambda job: job.delivered_at is not None)
    assert job.state is JobState.CANCELLED
    await imagine(ada, general)
    mention = await ping(ada)
    assert "#2" in mention["content"]


async def test_the_setting_is_a_switch_of_each_person(rig: Rig, bo: Person, general: str) -> None:
    panel = await (await bo.command(general, "settings")).response()
    await (await bo.click(panel, "darkroom:settings:person", ["ping"])).wait_for(
        "INTERACTION_SUCCESS"
    )
    user_id = int((await bo.state())["me"]["id"])
    assert (await rig.studio.store.settings.person(user_id)).ping


async def test_the_mention_is_known_so_that_it_goes_when_the_request_is_deleted(
    rig: Rig, ada: Person, general: str
) -> None:
    await wants_pings(rig, ada)
    await imagine(ada, general)
    mention = await ping(ada)
    await rig.until(lambda job: job.delivered_at is not None)
    async with asyncio.timeout(10):
        while not await rig.studio.jobs.messages_of(1, "ping"):
            await asyncio.sleep(0.02)
    [(_, message_id)] = await rig.studio.jobs.messages_of(1, "ping")
    assert str(message_id) == mention["id"]


@pytest.mark.parametrize("prompt", ["a castle at dusk", "two big foxes on pink"])
async def test_words_that_the_demo_does_not_know_are_named(
    rig: Rig, ada: Person, general: str, prompt: str
) -> None:
    message = await imagine(ada, general, prompt=prompt)
    unknown = "-# demo doesn’t know: dusk. Words that it knows: dog, "
    assert message["content"].startswith(unknown) == ("dusk" in prompt)
    assert ("know" in message["content"]) == ("dusk" in prompt)
    act = await ada.click(await ada.message(general, message["id"]), "Reroll")
    again = await finished(ada, general, await act.deferred())
    assert again["content"] == ""


@pytest.mark.parametrize("label", ["Edit", "Start from it", "Edit and try again"])
async def test_they_are_named_whatever_the_prompt_was_typed_in(
    rig: Rig, ada: Person, general: str, label: str
) -> None:
    if label == "Edit and try again":
        rig.engine.failures.append("out_of_memory")
    message = await (await ada.command(general, "imagine", prompt="a dog")).deferred()
    await rig.until(lambda job: job.delivered_at is not None)
    act = await (await press(ada, message, label)).submit(prompt="a fox at dusk")
    drawn = await finished(ada, general, await act.deferred())
    assert "doesn’t know: dusk" in drawn["content"]


PASTED = """a castle
Negative prompt: a cloud
Steps: 4, Sampler: Euler, CFG scale: 3.5, Seed: 7, Size: 128x128, Hires upscaler: R, ENSD: 1"""


async def test_what_was_ignored_is_said_after_a_restart_too(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.engine.gate = asyncio.Event()
    message = await (await ada.command(general, "imagine", prompt=PASTED)).deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    await rig.restart()
    shown = await finished(ada, general, message)
    assert "mean nothing here: Hires upscaler, ENSD." in shown["content"]


async def test_keys_of_pasted_data_that_mean_nothing_here_are_named(
    rig: Rig, ada: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    message = await (await ada.command(general, "imagine", prompt=PASTED)).deferred()
    line = "-# Of the pasted generation data these mean nothing here: Hires upscaler, ENSD."
    await ada.wait_for(
        "MESSAGE_UPDATE",
        lambda update: update["id"] == message["id"] and line in update["content"],
    )
    gate.set()
    first = await finished(ada, general, message)
    assert first["content"] == line
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    edited = await (await act.submit(prompt=PASTED.replace("ENSD", "Clip"))).deferred()
    second = await finished(ada, general, edited)
    assert second["content"] == line.replace("ENSD", "Clip")
    assert (await imagine(ada, general, prompt="a castle"))["content"] == ""


@pytest.mark.parametrize("how", [{"status": 503}, {"drop": True}, {"status": 400}], ids=str)
async def test_a_mention_that_discord_does_not_take_at_once_comes_all_the_same(
    rig: Rig, ada: Person, general: str, how: Json
) -> None:
    user_id = await wants_pings(rig, ada)
    await rig.control.fault(f"/channels/{general}/messages$", method="POST", times=2, **how)
    await imagine(ada, general)
    mention = await ping(ada)
    assert [int(one["id"]) for one in mention["mentions"]] == [user_id]


@pytest.mark.slow
async def test_reactions_that_discord_does_not_take_at_once_are_added_all_the_same(
    rig: Rig, ada: Person, general: str
) -> None:
    await rig.control.fault("/reactions/", method="PUT", status=503, times=2)
    one = await imagine(ada, general)
    await ada.wait_for(
        "MESSAGE_REACTION_ADD",
        lambda r: r["emoji"]["name"] == "❌" and r["message_id"] == one["id"],
    )


async def test_who_can_t_be_mentioned_in_the_channel_is_told_directly(
    rig: Rig, ada: Person, general: str
) -> None:
    await wants_pings(rig, ada)
    closed = {"status": 403, "code": 50013, "method": "POST", "times": 100}
    await rig.control.fault(f"/channels/{general}/messages$", **closed)
    await rig.control.fault("/webhooks/", **closed)
    await imagine(ada, general)
    mention = await ping(ada)
    assert mention["channel_id"] == await ada.channel("dm")
    assert "#1 is done" in mention["content"]


@pytest.mark.slow
async def test_where_many_ask_at_once_all_are_heard_before_one_is_told_to_wait(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "CALM", 0.5)
    monkeypatch.setattr(tracker, "CALM_WITHIN", 30.0)
    rig.config = with_limits(rig.config, waiting=ASKING)
    await rig.restart()
    rig.engine.gate = asyncio.Event()
    running = await ada.command(general, "imagine", prompt="a cat")
    await running.deferred()
    asked = [ada.command(general, "imagine", prompt=f"a cat {n}") for n in range(ASKING - 1)]
    messages = [await act.deferred() for act in await asyncio.gather(*asked)]
    last = messages[-1]["id"]
    await ada.wait_for("MESSAGE_UPDATE", lambda update: update["id"] == last and update["content"])

    made = [request for request in await rig.control.requests() if request["status"] < 300]
    heard = [n for n, request in enumerate(made) if request["path"].endswith("/callback")]
    # the one that is drawn is shown meanwhile
    tokens = {made[n]["path"].split("/")[-2] for n in heard[1:]}
    told = [
        n
        for n, request in enumerate(made)
        if request["method"] == "PATCH" and request["path"].split("/")[-3] in tokens
    ]
    assert len(heard) == ASKING
    assert told
    assert min(told) > max(heard)
    rig.engine.gate.set()
