"""What a result is still to have when the bot stops, it has after the next start, and once."""

import asyncio

import pytest

from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_job_messages import ping, wants_pings
from tests.patience import PATIENCE

EMOJI = "/reactions/"


async def kinds_owed(rig: Rig) -> set[str]:
    return {owed.kind for owed in await rig.studio.jobs.owed.left()}


async def until_owed(rig: Rig, kinds: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await kinds_owed(rig) != kinds:
            await asyncio.sleep(0.05)


async def mentions(person: Person, channel: str) -> list[Json]:
    return [message for message in await person.messages(channel) if message["mentions"]]


async def restarted(rig: Rig) -> None:
    """Stop the bot while it tries again, and start it where Discord is well."""
    await rig.stop()
    await rig.control.clear_faults()
    await rig.start()


@pytest.mark.slow
@pytest.mark.parametrize("private", [False, True])
async def test_a_mention_that_is_tried_again_is_made_up_for(
    rig: Rig, ada: Person, general: str, *, private: bool
) -> None:
    await wants_pings(rig, ada)
    await rig.control.fault(f"/channels/{general}/messages$", method="POST", status=503, times=999)
    # through the token there is nothing to look for: only a clear refusal is tried again
    await rig.control.fault("/webhooks/", method="POST", status=429, times=999)
    await imagine(ada, general, private=private)
    await delivered(rig, 1)
    await until_owed(rig, {"ping"})
    await restarted(rig)
    await ping(ada)
    await until_owed(rig, set())
    assert len(await mentions(ada, general)) == 1
    await rig.restart()
    await until_owed(rig, set())
    assert len(await mentions(ada, general)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True])
async def test_a_mention_whose_answer_was_lost_is_not_posted_again(
    rig: Rig, ada: Person, general: str, *, stops: bool
) -> None:
    await wants_pings(rig, ada)
    path = f"/channels/{general}/messages$"
    await rig.control.fault(path, method="POST", status=503, times=999, after=True)
    if stops:  # nor can it be looked for
        await rig.control.fault(path, method="GET", status=503, times=999)
    await imagine(ada, general)
    await ping(ada)
    await rig.control.forget_nonces(lifetime=0)
    if stops:
        await until_owed(rig, {"ping"})
        await restarted(rig)
    await until_owed(rig, set())
    assert len(await mentions(ada, general)) == 1
    assert len(await rig.studio.jobs.messages_of(1, "ping")) == 1


@pytest.mark.slow
async def test_a_mention_is_tried_as_long_as_a_result_is(
    rig: Rig, ada: Person, general: str
) -> None:
    await wants_pings(rig, ada)
    path = f"/channels/{general}/messages$"
    await rig.control.fault(path, method="POST", drop=True, times=9)
    await imagine(ada, general)
    await ping(ada)
    await until_owed(rig, set())


async def reactions(person: Person, channel: str, message: Json) -> int:
    return len((await person.message(channel, message["id"])).get("reactions") or ())


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True])
async def test_emoji_that_discord_did_not_take_are_added_later(
    rig: Rig, ada: Person, general: str, *, stops: bool
) -> None:
    whole = await imagine(ada, general)
    await delivered(rig, 1)
    await until_owed(rig, set())
    count = await reactions(ada, general, whole)
    assert count
    times = 9999 if stops else 40  # more than all tries of before
    await rig.control.fault(EMOJI, method="PUT", drop=True, times=times)
    message = await imagine(ada, general)
    await delivered(rig, 2)
    if stops:
        await until_owed(rig, {"emoji"})
        await restarted(rig)
    await until_owed(rig, set())
    assert await reactions(ada, general, message) == count
