"""What only one person sees comes once, whatever becomes of Discord's answer to it."""

import asyncio

import pytest

from playground.person import Act, Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_posted_once import until_posted
from tests.patience import PATIENCE

CALLBACK = "/interactions/.*/callback"
LOST: dict[str, Json] = {
    "502": {"status": 502},
    "503": {"status": 503},
    "reset": {"reset": True},
}


async def at_rest(rig: Rig) -> None:
    """Whoever repeats a request has ended."""
    async with asyncio.timeout(PATIENCE):
        while len(rig.client.answers):
            await asyncio.sleep(0.05)


async def asked(ada: Person, general: str, what: str) -> Act:
    match what:
        case "history":
            return await ada.command(general, "history")
        case "tree":
            return await ada.command(general, "history", tree=1)
        case "stats":
            return await ada.command(general, "stats")
        case "models":
            return await ada.command(general, "models")
        case "mydata":
            return await ada.command(general, "mydata export")
        case "preset":
            return await ada.command(general, "preset show", name="demo")
        case "refusal":
            return await ada.command(general, "history", tree=99)
    raise AssertionError(what)


EVERY = {
    "history": "darkroom:entry",
    "tree": "**#1**",
    "stats": "embeds': [{",
    "models": "embeds': [{",
    "mydata": ".zip",
    "preset": "```toml",
    "refusal": "99",
}
"""What is asked for, and what its answer has."""


async def once(rig: Rig, ada: Person, general: str, what: str) -> Json:
    known = {m["id"] for m in await ada.messages(general)}
    await asked(ada, general, what)
    async with asyncio.timeout(PATIENCE):
        while True:
            new = [m for m in await ada.messages(general) if m["id"] not in known]
            if any(not m["flags"] & 128 for m in new):  # no longer "is thinking"
                break
            await asyncio.sleep(0.05)
    await at_rest(rig)
    [message] = [m for m in await ada.messages(general) if m["id"] not in known]
    assert message["flags"] & 64
    assert not message["flags"] & 128
    assert EVERY[what] in str(message)
    return message


@pytest.mark.parametrize("how", ["502", "503"])
@pytest.mark.parametrize("what", EVERY)
async def test_an_answer_that_discord_loses_is_shown_once(
    rig: Rig, ada: Person, general: str, what: str, how: str
) -> None:
    await imagine(ada, general)
    await delivered(rig, 1)
    for method in ("POST", "PATCH"):
        await rig.control.fault("/webhooks/", method=method, after=True, **LOST[how])
    await once(rig, ada, general, what)


@pytest.mark.parametrize("how", ["502", "reset"])
@pytest.mark.parametrize("what", EVERY)
async def test_an_acknowledgement_whose_answer_is_lost_is_followed_by_the_answer(
    rig: Rig, ada: Person, general: str, what: str, how: str
) -> None:
    await imagine(ada, general)
    await delivered(rig, 1)
    await rig.control.fault(CALLBACK, method="POST", after=True, **LOST[how])
    await once(rig, ada, general, what)


@pytest.mark.parametrize("how", list(LOST))
async def test_a_refusal_after_a_public_acknowledgement_is_shown_once(
    rig: Rig, ada: Person, general: str, how: str
) -> None:
    """It can't take the place of what all see, and is a message of its own."""
    known = {m["id"] for m in await ada.messages(general)}
    await rig.control.fault("/webhooks/", method="POST", after=True, **LOST[how])
    text = await ada.upload("start.png", b"no picture")
    await ada.command(general, "imagine", prompt="a cat", init_picture=text)
    await until_posted(ada, general, 1, "start.png")
    await at_rest(rig)
    [told] = [m for m in await ada.messages(general) if m["id"] not in known]
    assert told["flags"] & 64
