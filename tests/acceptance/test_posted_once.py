"""What actions post comes once, whatever Discord answers, or why it does not come is said."""

import asyncio
from typing import Any

import pytest

from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_history import history
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE

BUTTONS = ("pick", "send", "parameters")


async def until_posted(person: Person, channel: str, count: int, having: str) -> list[Json]:
    async with asyncio.timeout(PATIENCE):
        while True:
            shown = await person.messages(channel)
            if len([m for m in shown if having in str(m)]) >= count:
                return shown
            await asyncio.sleep(0.05)


async def press(rig: Rig, person: Person, channel: str, what: str) -> list[Json]:
    """Have a result, and be about to press a button of it; returns what there is till then."""
    await imagine(person, channel, count=1 if what == "send" else 2)
    await delivered(rig, 1)
    if what == "send":
        page = await history(person, channel)
        await (await person.click(page, "darkroom:entry", ["1"])).response()
    return await person.messages(channel)


async def pressed(person: Person, before: list[Json], what: str) -> None:
    labels = {"pick": "darkroom:pick:1:0", "send": "Send here", "parameters": "Parameters"}
    message = next(m for m in before if labels[what].lower() in str(m["components"]).lower())
    await person.click(message, labels[what])


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize("what", BUTTONS)
async def test_a_button_whose_answer_discord_loses_posts_once(
    rig: Rig, ada: Person, general: str, what: str, status: int
) -> None:
    before = await press(rig, ada, general, what)
    known = {m["id"] for m in before}
    for method in ("POST", "PATCH"):
        await rig.control.fault("/webhooks/", method=method, status=status, after=True)
    await pressed(ada, before, what)
    having = "Steps:" if what == "parameters" else "attachments': [{"
    count = len([m for m in before if having in str(m)])
    await until_posted(ada, general, count + 1, having)
    async with asyncio.timeout(PATIENCE):
        while len(rig.client.answers):  # whoever repeats a request has not ended
            await asyncio.sleep(0.05)
    shown = await ada.messages(general)
    new = [m for m in shown if m["id"] not in known and having in str(m)]
    assert len(new) == 1


@pytest.mark.parametrize("status", [502, 503])
async def test_a_reaction_whose_answer_discord_loses_is_answered_once(
    rig: Rig, ada: Person, general: str, status: int
) -> None:
    one = await imagine(ada, general)
    await delivered(rig, 1)
    dm = await ada.channel("dm")
    await rig.control.fault(f"/channels/{dm}/messages$", method="POST", status=status, after=True)
    await ada.react(one, "📋")
    await until_posted(ada, dm, 1, "Steps:")
    await ada.react(one, "✏️")
    await ada.wait_for("MESSAGE_CREATE", lambda m: "Press" in m["content"])
    assert len([m for m in await ada.messages(dm) if "Steps:" in m["content"]]) == 1


REFUSALS: list[tuple[Json, str]] = [
    ({"status": 400, "code": 240000}, "own filter"),
    ({"status": 400, "code": 50035}, "does not take the answer here"),
    ({"status": 413, "code": 40005}, "too large for Discord here"),
    ({"status": 503}, "did not take the answer just now"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "said"), REFUSALS, ids=str)
@pytest.mark.parametrize("what", BUTTONS)
async def test_what_discord_does_not_take_from_a_button_is_told_in_words(
    rig: Rig, ada: Person, general: str, what: str, how: dict[str, Any], said: str
) -> None:
    before = await press(rig, ada, general, what)
    await rig.control.fault("/messages/@original", method="PATCH", times=20, **how)
    await pressed(ada, before, what)
    [told] = [m for m in await until_posted(ada, general, 1, said) if said in m["content"]]
    assert told["flags"] & 64


async def test_a_picked_picture_too_large_for_discord_is_posted_as_webp(
    rig: Rig, ada: Person, general: str
) -> None:
    before = await press(rig, ada, general, "pick")
    await rig.control.fault("/messages/@original", method="PATCH", status=413, code=40005, times=2)
    await pressed(ada, before, "pick")
    shown = await until_posted(ada, general, 1, ".webp")
    [light] = [m for m in shown if ".webp" in str(m)]
    assert "too large for Discord" in light["content"]
