"""What is private stays private: answers by default, requests once sent, the audit channel."""

import asyncio

import pytest

from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, press
from tests.acceptance.test_actions import delivered, next_picture
from tests.acceptance.test_history import history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_permissions import NO_REQUEST, answer, id_of
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import say
from tests.patience import PATIENCE


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


async def private_by_default(rig: Rig, person: Person) -> None:
    await rig.studio.store.settings.change_person(int(await id_of(person)), private=True)


async def test_private_by_default_holds_for_buttons_menus_and_modals(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    four = await imagine(ada, general, count=2)
    one = await imagine(ada, general)
    await private_by_default(rig, bo)
    before = len(await ada.messages(general))
    # each after the one before: three may wait, on a busy machine too
    clicks = ((four, "Reroll", 3), (four, "darkroom:pick:1:0", 3), (one, "Upscale", 4))
    for message, label, job in clicks:
        act = await bo.click(await bo.message(general, message["id"]), label)
        assert (await act.response())["flags"] & 64, label
        await delivered(rig, job)
    act = await bo.use_on_message("Reroll", one)
    assert (await act.response())["flags"] & 64
    await delivered(rig, 5)
    act = await bo.click(await bo.message(general, one["id"]), "Edit")
    answered = await (await act.submit(prompt="a fox")).response()
    assert answered["flags"] & 64
    await delivered(rig, 6)
    assert len(await ada.messages(general)) == before


async def test_private_by_default_a_reaction_is_answered_directly(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general, count=2)
    await private_by_default(rig, bo)
    before = len(await ada.messages(general))
    direct = await bo.channel("dm")
    await bo.react(first, "🔁")
    message = await bo.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == direct)
    assert len(message["attachments"]) == 2
    assert (await rig.job(2)).origin.private
    await bo.react(first, "1️⃣")
    await bo.wait_for(
        "MESSAGE_CREATE", lambda m: m["channel_id"] == direct and len(m["attachments"]) == 1
    )
    assert len(await ada.messages(general)) == before
    # there its buttons and reactions work as anywhere
    await bo.react(message, "🔁")
    await next_picture(bo, direct, message)


async def test_what_its_owner_has_sent_is_everybodys_to_use(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(ada, general, prompt="no secret any more", private=True, count=2)
    page = await history(ada, general)
    entry = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    sent = await (await ada.click(entry, "Send here")).response()
    assert "no secret" in await answer(bo, sent, "Parameters")
    which = await (await bo.use_on_message("Upscale", sent)).response()
    act = await bo.click(which, "darkroom:upscale:1:1")
    await finished(bo, general, await act.deferred())
    # also what stands behind More…, of one picture
    act = await bo.click(await bo.message(general, sent["id"]), "darkroom:pick:1:0")
    await (await press(bo, await act.response(), "Start from it")).modal()
    # by its number it is as private as before
    assert NO_REQUEST in (await say(bo, general, "replay", job=1))["content"]


async def test_the_audit_channel_says_of_private_requests_only_that_they_were(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    audit = str((await control.add_channel(guild, "audit"))["id"])
    await rig.studio.store.settings.change_guild(
        int(guild), blocklist=("forbidden",), audit_channel=int(audit)
    )
    await imagine(bo, general, prompt="a love letter", private=True)
    bo.events.clear()
    await refused(bo, general, prompt="a forbidden letter", private=True)
    async with asyncio.timeout(PATIENCE):
        while len(noted := await ada.messages(audit)) < 2:
            await asyncio.sleep(0.02)
    drawn, blocked = sorted(message["content"] for message in noted)
    assert "something private → one picture" in drawn
    assert "something private" in blocked
    assert "letter" not in drawn + blocked
    # nor of one that may not be shown to all
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("love",))
    page = await history(bo, general)
    entry = await (await bo.click(page, "darkroom:entry", ["1"])).response()
    assert "does not want" in (await (await bo.click(entry, "Send here")).response())["content"]
    async with asyncio.timeout(PATIENCE):
        while len(noted := await ada.messages(audit)) < 3:
            await asyncio.sleep(0.02)
    assert "letter" not in "".join(message["content"] for message in noted)
