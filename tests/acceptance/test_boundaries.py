"""What one place decides holds there: for others' requests, for pictures from elsewhere."""

import pytest

from bot.delivery.tracker import Tracker
from generation.job import JobState
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, offered, with_limits
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_faults import begin
from tests.acceptance.test_history import history
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_servers import say


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


async def sent_here(person: Person, channel: str, job: int) -> Json:
    """What comes of `Send here`, pressed in an entry of one's history."""
    page = await history(person, channel)
    entry = await (await person.click(page, "darkroom:entry", [str(job)])).response()
    return await (await person.click(entry, "Send here")).response()


async def test_nobody_moderates_other_peoples_direct_messages(
    rig: Rig, ada: Person, bo: Person
) -> None:
    await begin(rig, ada, await ada.channel("dm"))
    answer = await say(bo, await bo.channel("dm"), "cancel", job=1)
    assert "There is no request #1" in answer["content"]
    assert (await rig.job(1)).state is JobState.RUNNING
    answer = await say(ada, await ada.channel("dm"), "cancel", job=1)
    assert "is cancelled" in answer["content"]
    assert rig.engine.gate is not None
    rig.engine.gate.set()
    await delivered(rig, 1)


async def test_what_was_made_in_a_hidden_channel_is_not_replayed_elsewhere(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    staff = str((await control.add_channel(guild, "staff"))["id"])
    bot = (await ada.state())["application"]["bot"]["id"]
    await control.overwrite(staff, bot, allow=1 << 10)
    await control.overwrite(staff, guild, deny=1 << 10)
    await imagine(ada, staff, prompt="a surprise for bo")
    answer = await say(bo, general, "replay", job=1)
    assert "There is no request #1" in answer["content"]
    await control.overwrite(staff, guild, allow=1 << 10)
    act = await bo.command(general, "replay", job=1)
    await finished(bo, general, await act.deferred())


@pytest.mark.parametrize("check", ["blur", "block"])
async def test_a_picture_from_elsewhere_is_held_to_the_rules_of_this_server(
    rig: Rig, ada: Person, general: str, guild: str, check: str
) -> None:
    rig.engine.unsafe = (0.9, 0.1)
    await imagine(ada, await ada.channel("dm"), count=2)
    await delivered(rig, 1)
    await rig.studio.store.settings.change_guild(int(guild), picture_check=check)
    sent = await sent_here(ada, general, 1)
    names = [file["filename"] for file in sent["attachments"]]
    if check == "blur":
        assert [name.startswith("SPOILER_") for name in names] == [True, False]
    else:
        assert names == ["darkroom-1-2.png"]
        await ada.click(sent, "darkroom:pick:1:0")
        await ada.wait_for("MESSAGE_CREATE", lambda m: "holds that picture back" in m["content"])


async def test_words_from_elsewhere_are_held_to_the_blocklist_of_this_server(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    await imagine(ada, await ada.channel("dm"), prompt="much blood")
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("blood",), spoiler=True)
    assert "does not want" in (await sent_here(ada, general, 1))["content"]
    await imagine(ada, await ada.channel("dm"), prompt="much jam")
    [file] = (await sent_here(ada, general, 2))["attachments"]
    assert file["filename"].startswith("SPOILER_")


async def test_a_check_that_the_owner_did_not_set_up_cannot_be_asked_for(
    rig: Rig, ada: Person, general: str, guild: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = await say(ada, general, "settings")
    act = await ada.click(panel, "darkroom:settings:guild", ["picture_check"])
    await (await act.submit(value=["blur"])).wait_for("INTERACTION_SUCCESS")
    monkeypatch.setattr(rig.client.services.delivery.attachments, "_unsafe_from", lambda: None)
    act = await ada.click(panel, "darkroom:settings:guild", ["picture_check"])
    answer = await (await act.submit(value=["block"])).response()
    assert "no picture check here" in answer["content"]
    assert (await rig.studio.store.settings.guild(int(guild))).picture_check == "blur"
    # what nothing has looked at does not count as safe
    message = await imagine(ada, general)
    assert message["attachments"][0]["filename"].startswith("SPOILER_")


async def test_a_reaction_that_needs_a_dialog_answers_with_its_button(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.delivery.message_chores.HINT_SECONDS", 0.5)
    message = await imagine(ada, general)
    await bo.react(message, "✏️")
    hint = await bo.wait_for("MESSAGE_CREATE", lambda m: "Press the button" in m["content"])
    assert hint["message_reference"]["message_id"] == message["id"]
    act = await (await bo.click(hint, "Edit")).submit(prompt="a fox at dusk")
    await bo.wait_for("MESSAGE_DELETE", lambda m: m["id"] == hint["id"])
    await finished(bo, general, await act.deferred())
    assert (await rig.job(2)).request.prompt == "a fox at dusk"


async def test_a_picture_is_enlarged_until_it_is_as_large_as_pictures_get(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=512, height=512)
    await rig.until(lambda job: job.delivered_at is not None)
    rig.config = with_limits(rig.config, side=512, upscaled_side=530)
    await rig.restart()
    answer = await (await ada.click(message, "Upscale")).response()
    assert "as large as pictures get" in answer["content"]
    again = await (await ada.click(message, "Reroll")).deferred()
    labels = await offered(ada, await finished(ada, general, again))
    assert "Start from it" in labels
    assert "Upscale" not in labels


async def test_a_reaction_that_fails_says_so(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await imagine(ada, general)

    def fails(*_args: object, **_options: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(Tracker, "track", fails)
    await ada.react(message, "🔁")
    said = await ada.wait_for("MESSAGE_CREATE", lambda m: "went wrong" in m["content"])
    assert said["channel_id"] == await ada.channel("dm")
