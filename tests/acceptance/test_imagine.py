"""From /imagine to pictures, as the people of a server see it."""

import asyncio
import time
from collections.abc import Callable

from generation.job import JobState
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import EDIT_EVERY, Json, Rig, buttons, finished, png


async def imagine(person: Person, channel: str, **options: object) -> Json:
    """Use the command and wait for its pictures."""
    act = await person.command(channel, "imagine", **{"prompt": "a lighthouse", **options})
    return await finished(person, channel, await act.deferred())


async def test_a_prompt_becomes_pictures(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, seed=7, count=2)
    assert [file["content_type"] for file in message["attachments"]] == ["image/png"] * 2
    [embed] = message["embeds"]
    assert embed["description"] == "a lighthouse"
    fields = {field["name"]: field["value"] for field in embed["fields"]}
    assert fields["Seeds"] == "7, 8"
    assert fields["Model"] == "demo"
    assert embed["footer"]["text"].startswith("#1 · ")
    assert buttons(message)[:1] == ["Reroll"]
    usual = ("Reroll", "Add control picture…", "Edit", "Parameters", "Favourite", "Delete")
    assert buttons(message)[:6] == [*usual]
    assert len(buttons(message)) == len(usual) + 2, "and one for each of its pictures"
    job = await rig.until(lambda job: job.delivered_at is not None)
    assert job.state is JobState.FINISHED
    status, content = await rig.control.get(message["attachments"][0]["url"])
    assert status == 200
    assert content == await rig.studio.jobs.read_picture(job.pictures[0])


async def test_the_bot_adds_the_reactions_that_apply(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general)
    await ada.wait_for("MESSAGE_REACTION_ADD", lambda event: event["emoji"]["name"] == "❌")
    message = await ada.message(general, message["id"])
    emoji = [reaction["emoji"]["name"] for reaction in message["reactions"]]
    assert emoji == ["🔁", "🔍", "🪄", "🎲", "📋", "⭐", "❌"]


async def test_it_is_stored_before_it_is_acknowledged(rig: Rig, ada: Person, general: str) -> None:
    rig.engine.gate = asyncio.Event()
    act = await ada.command(general, "imagine", prompt="a lighthouse")
    await act.deferred()
    job = await rig.job(1)
    assert job.request.prompt == "a lighthouse"
    rig.engine.gate.set()


async def test_progress_and_a_preview_are_shown_and_edits_are_rare(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.engine.step_seconds = 0.05
    begun = time.monotonic()
    message = await imagine(ada, general, steps=40)
    took = time.monotonic() - begun
    updates = [
        event["d"]
        for event in ada.events
        if event["t"] == "MESSAGE_UPDATE" and event["d"]["id"] == message["id"]
    ]
    texts = [update["content"] for update in updates]
    assert any("▰" in text and "left" in text for text in texts), texts
    previews = [update for update in updates if update["embeds"] and update["attachments"]]
    assert "▰" in previews[0]["content"]
    assert previews[0]["embeds"][0]["image"]["url"] == previews[0]["attachments"][0]["url"]
    edits = [r for r in await rig.control.requests() if r["method"] == "PATCH"]
    assert len(edits) <= took / EDIT_EVERY + 2
    assert "▰" not in message["content"]


async def test_the_place_in_the_queue_is_kept_true(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    await ada.command(general, "imagine", prompt="first")
    await rig.until(lambda job: job.state is JobState.RUNNING)
    second = await (await ada.command(general, "imagine", prompt="second")).deferred()
    third = await (await ada.command(general, "imagine", prompt="third")).deferred()

    def says(message: Json, text: str) -> Callable[[Json], bool]:
        return lambda update: update["id"] == message["id"] and text in update["content"]

    await ada.wait_for("MESSAGE_UPDATE", says(second, "next"))
    await ada.wait_for("MESSAGE_UPDATE", says(third, "one request before"))
    # ada has had her turn: bo's comes before both
    await bo.command(general, "imagine", prompt="fourth")
    await ada.wait_for("MESSAGE_UPDATE", says(third, "2 requests before"))
    gate.set()
    await finished(ada, general, third)
    assert rig.engine.began == ["1", "4", "2", "3"]


async def test_private_is_seen_by_nobody_else(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await imagine(ada, general, private=True)
    assert message["flags"] & 64
    assert await bo.messages(general) == []
    await rig.until(lambda job: job.delivered_at is not None)
    assert "reactions" not in await ada.message(general, message["id"])


async def test_in_a_direct_message(rig: Rig, bo: Person) -> None:
    channel = await bo.channel("dm")
    message = await imagine(bo, channel)
    assert len(message["attachments"]) == 1


async def test_start_picture_and_control_picture_are_kept_and_used(
    rig: Rig, ada: Person, general: str
) -> None:
    upload = await ada.upload("start.png", png("red", (90, 40)))
    await imagine(ada, general, init_picture=upload, denoising=0.4)
    job = await rig.job(1)
    assert job.request.init_picture is not None
    assert job.request.denoising_strength == 0.4
    assert (await rig.studio.jobs.read_upload(job.request.init_picture)).startswith(b"\x89PNG")


async def test_autocomplete_offers_what_is_there(rig: Rig, ada: Person, general: str) -> None:
    async def names(option: str, typed: str) -> list[str]:
        choices = await ada.autocomplete(general, "imagine", option, typed)
        return [choice["value"] for choice in choices]

    assert (await names("sampler", "eul"))[:2] == ["Euler", "Euler a"]
    assert "demo" in await names("model", "")
    assert len(await names("sampler", "")) <= 25
    assert (await names("prompt", "a peng"))[:2] == ["a peng", "a penguin"]
    assert not await names("prompt", "a lighthouse")


async def test_every_field_of_the_request_is_an_option(
    rig: Rig, ada: Person, control: Control
) -> None:
    state = await ada.state()
    [command] = [command for command in state["commands"] if command["name"] == "imagine"]
    by_name = {option["name"]: option for option in command["options"]}
    expected = {
        "prompt", "negative_prompt", "model", "aspect", "width", "height", "steps", "guidance",
        "sampler", "seed", "count", "init_picture", "denoising", "lora", "lora_weight",
        "control_picture", "controlnet", "control_scale", "private",
    }  # fmt: skip
    assert expected <= by_name.keys()
    assert by_name["prompt"]["required"]
    assert by_name["steps"]["max_value"] == rig.config.limits.steps
    assert by_name["init_picture"]["type"] == 11
    assert by_name["sampler"]["autocomplete"]


async def test_two_people_at_once_both_get_theirs(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    one, other = await asyncio.gather(
        imagine(ada, general, prompt="a cat"), imagine(bo, general, prompt="a dog")
    )
    assert one["embeds"][0]["description"] == "a cat"
    assert other["embeds"][0]["description"] == "a dog"
    assert rig.engine.began == ["1", "2"]


async def test_a_prompt_mentions_nobody_and_marks_nothing_up(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, prompt="@everyone **loud** <@1>")
    assert message["mentions"] == []
    assert not message["mention_everyone"]
    assert "\\*\\*loud" in message["embeds"][0]["description"]
