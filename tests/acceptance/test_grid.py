"""`/grid`: confirmed first, drawn as jobs, shown in one message, each picture to be picked."""

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from generation.job import JobState
from playground.control import Control
from playground.person import Person, fields_of
from tests.acceptance.conftest import Json, Rig, buttons, finished
from tests.acceptance.test_approvals import audit as audit
from tests.acceptance.test_approvals import held, questions
from tests.acceptance.test_job_messages import ping, wants_pings
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_servers import say
from tests.patience import PATIENCE


async def proposed(person: Person, channel: str, **options: Any) -> Json:
    given = {"prompt": "a red fox", "x": "steps", "x_values": "2, 3", **options}
    return await say(person, channel, "grid", **given)


async def drawn(person: Person, channel: str, **options: Any) -> Json:
    """The message of a grid when it is done."""
    proposal = await proposed(person, channel, **options)
    act = await person.click(proposal, "Draw it")
    return await done(person, channel, await act.deferred())


async def done(person: Person, channel: str, message: Json) -> Json:
    async with asyncio.timeout(PATIENCE):
        while "Delete" not in buttons(now := await person.message(channel, message["id"])):
            await asyncio.sleep(0.05)
    return now


async def refusal(person: Person, channel: str, **options: Any) -> str:
    said: str = (await proposed(person, channel, **options))["content"]
    assert "Traceback" not in said
    return said


def menu(message: Json) -> Json:
    return next(each for each in fields_of(message["components"]) if "options" in each)


@pytest.fixture(autouse=True)
async def soon(rig: Rig) -> None:
    rig.client.services.delivery.grids.redrawn_every = 0.1


async def test_a_grid_is_confirmed_drawn_and_picked_from(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    proposal = await proposed(ada, general, y="guidance", y_values="4, 5, 6", model="demo")
    assert "2 × 3: 6 pictures" in proposal["content"]
    assert await rig.studio.jobs.get(1) is None, "nothing is drawn before it is confirmed"
    act = await ada.click(proposal, "Draw it")
    message = await done(ada, general, await act.deferred())
    [file] = message["attachments"]
    assert file["filename"] == "darkroom-grid-1.webp"
    status, content = await rig.control.get(file["url"])
    assert status == 200
    assert Image.open(io.BytesIO(content)).format == "WEBP"
    jobs = [
        await rig.until(lambda job: job.delivered_at is not None, number) for number in range(1, 7)
    ]
    assert [(job.request.steps, job.request.guidance_scale) for job in jobs] == [
        *((2, 4.0), (3, 4.0), (2, 5.0), (3, 5.0), (2, 6.0), (3, 6.0)),
    ]
    assert len({job.request.seed for job in jobs}) == 1
    # the pictures have no messages of their own
    assert len([m for m in await ada.messages(general) if m["attachments"]]) == 1
    picker = menu(message)
    assert [option["label"] for option in picker["options"]][:2] == ["1. 2 · 4", "2. 3 · 4"]
    act = await bo.click(message, picker["custom_id"], ["3"])
    picked = await finished(bo, general, await act.deferred())
    assert picked["attachments"][0]["filename"] == "darkroom-4-1.png"
    # all that can be done with a picture can be done with it
    act = await bo.click(picked, "darkroom:vary_subtle:4:0")
    await finished(bo, general, await act.deferred())
    assert (await rig.job(7)).parent == 4
    # twice is once
    again = await (await ada.click(proposal, "Draw it")).response()
    assert "already" in again["content"]
    assert (await rig.studio.jobs.newest_id()) == 7


async def test_pictures_come_as_they_are_drawn_and_what_is_left_can_be_cancelled(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    proposal = await proposed(ada, general, x_values="2-5")
    rig.engine.step_seconds = 0.2
    act = await ada.click(proposal, "Draw it")
    message = await act.deferred()
    async with asyncio.timeout(PATIENCE):
        while not (now := await ada.message(general, message["id"]))["attachments"]:
            await asyncio.sleep(0.05)
    assert "of 4 pictures" in now["content"]
    said = await (await bo.click(now, "Cancel")).response()
    assert "Only" in said["content"]
    await (await ada.click(now, "Cancel")).wait_for("INTERACTION_SUCCESS")
    now = await done(ada, general, message)
    assert "cancelled" in now["content"]
    states = [(await rig.job(number)).state for number in range(1, 5)]
    assert JobState.FINISHED in states
    assert JobState.CANCELLED in states
    assert len(menu(now)["options"]) == states.count(JobState.FINISHED)


@pytest.mark.slow
async def test_a_stop_in_the_middle_loses_nothing(rig: Rig, ada: Person, general: str) -> None:
    await wants_pings(rig, ada)
    proposal = await proposed(ada, general, x_values="2-5")
    rig.engine.step_seconds = 0.1
    message = await (await ada.click(proposal, "Draw it")).deferred()
    await rig.until(lambda job: job.ended, 1)
    await rig.restart()
    now = await done(ada, general, message)
    assert len(now["attachments"]) == 1
    assert len(menu(now)["options"]) == 4
    await ping(ada)
    assert len([m for m in await ada.messages(general) if m["attachments"]]) == 1


async def test_its_cost_is_told_and_held_against_the_quota(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), quota=5)
    first = await proposed(bo, general, x_values="2-5")
    second = await proposed(bo, general, x_values="2-5")
    assert "4 of the 5 pictures" in first["content"]
    await done(bo, general, await (await bo.click(first, "Draw it")).deferred())
    # a grid is drawn whole or not at all
    said = await (await bo.click(second, "Draw it")).response()
    assert "You have had your 5 pictures" in said["content"]
    assert await rig.studio.jobs.newest_id() == 4
    assert "You have had" in await refusal(bo, general)


async def test_a_grid_is_one_of_those_that_may_wait(rig: Rig, ada: Person, general: str) -> None:
    rig.engine.step_seconds = 1.0
    proposal = await proposed(ada, general, x_values="2-9")
    await (await ada.click(proposal, "Draw it")).deferred()
    assert await rig.studio.jobs.count_waiting((await rig.job(1)).origin.user_id) == 1
    await (await ada.command(general, "imagine", prompt="another")).deferred()
    rig.engine.step_seconds = 0.001


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"x_values": "1-60", "y": "guidance", "y_values": "1-20"}, "1200 pictures; at most 50"),
        ({"x": "stpes"}, "Nearest: steps"),
        ({"x_values": "many"}, "many"),
        ({"x_values": "2, 100"}, "100: steps is 100"),
        ({"y": "sampler", "y_values": "Euler, Eulr b"}, "2 · Eulr b: There is no sampler"),
        ({"y": "sampler", "y_values": "Euler, [x](y)"}, "There is no sampler “[x\\](y)”"),
        ({"y": "guidance"}, "needs an option and its values"),
        ({"y": "steps", "y_values": "4"}, "on two axes"),
        ({"x": "prompt", "x_values": "cat, dog"}, "“cat” is not in the prompt"),
        ({"x": "lora", "x_values": "nothing"}, "There is no LoRA"),
        ({"prompt": "a fox --steps"}, "--steps"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_drawn(
    rig: Rig, ada: Person, general: str, options: dict[str, str], said: str
) -> None:
    assert said in await refusal(ada, general, **options)
    assert await rig.studio.jobs.get(1) is None


async def test_what_was_refused_is_mended_and_handed_in_again(
    rig: Rig, ada: Person, general: str
) -> None:
    answer = await proposed(ada, general, x="stpes", y="guidance", y_values="4, 5", model="demo")
    act = await ada.click(answer, "Edit and try again")
    fields = {f["custom_id"]: f.get("value") for f in fields_of((await act.modal())["components"])}
    assert fields["prompt"] == "a red fox --model demo"
    assert (fields["x"], fields["y"]) == ("stpes: 2, 3", "guidance: 4, 5")
    act = await act.submit(**{**{k: v or "" for k, v in fields.items()}, "x": "steps: 2, 3"})
    assert "2 × 2: 4 pictures" in (await act.response())["content"]


async def test_what_is_blocked_is_blocked_in_every_picture(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    proposal = await proposed(bo, general, x="prompt", x_values="fox, blood")
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("blood",))
    said = await (await bo.click(proposal, "Draw it")).response()
    assert "does not want" in said["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_a_private_grid_is_its_owners_alone(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await drawn(ada, general, private=True)
    assert message["flags"] & 64
    assert [m for m in await bo.messages(general) if m["attachments"]] == []
    assert (await rig.job(1)).origin.private


async def test_deleting_it_leaves_nothing(rig: Rig, ada: Person, general: str) -> None:
    message = await drawn(ada, general)
    await ada.click(message, "Delete")
    await ada.wait_for("MESSAGE_DELETE", lambda m: m["id"] == message["id"])
    message = await drawn(ada, general)
    deleted = await rig.client.services.requests.made.forget_job(await rig.job(4))
    rig.client.services.delivery.chores.take_back(deleted.messages)
    await ada.wait_for("MESSAGE_DELETE", lambda m: m["id"] == message["id"])


async def test_the_picture_check_holds_for_each_picture(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, audit: str
) -> None:
    await held(rig, guild)
    rig.engine.unsafe = (0.9,)
    message = await drawn(bo, general)
    assert message["attachments"] == []
    assert "2 pictures are waiting for a moderator" in message["content"]
    for asked in await questions(ada, audit, 2):
        await (await ada.click(asked, "Approve")).wait_for("INTERACTION_SUCCESS")
    async with asyncio.timeout(PATIENCE):
        while not (now := await bo.message(general, message["id"]))["attachments"]:
            await asyncio.sleep(0.05)
    assert now["attachments"][0]["filename"] == "darkroom-grid-1.webp"


async def test_letters_stand_for_what_the_font_has_not(rig: Rig, ada: Person, general: str) -> None:
    message = await drawn(ada, general, x="prompt", x_values="fox, 狐狸")
    assert "A: fox, B: 狐狸" in message["embeds"][0]["description"]


async def test_the_moderators_read_of_it_once(
    rig: Rig, control: Control, ada: Person, general: str, audit: str
) -> None:
    await drawn(ada, general)
    line = await ada.wait_for(
        "MESSAGE_CREATE", lambda m: m["channel_id"] == audit and "a red fox" in m["content"]
    )
    assert "2 pictures" in line["content"]
    assert len(await ada.messages(audit)) == 1
