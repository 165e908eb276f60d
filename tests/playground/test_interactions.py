"""Commands, autocomplete, components, modals: from a person, through discord.py, and back."""

from __future__ import annotations

import asyncio

import discord
import pytest

from playground.control import Control, ControlError, InteractionFailed, Person
from playground.server import Options

from .bot import SampleBot, png
from .conftest import Rest


async def test_a_deferred_command_is_finished_with_a_picture(
    bot: SampleBot, ada: Person, control: Control
) -> None:
    act = await ada.command("general", "draw", prompt="a cat", steps=5)
    first = await act.deferred()
    assert first["flags"] & 128
    message = await act.response()
    assert message["content"] == "a cat 5 demo"
    assert not message["flags"] & 128
    assert message["type"] == 20
    assert message["interaction_metadata"]["user"]["username"] == "ada"
    [attachment] = message["attachments"]
    assert (attachment["width"], attachment["height"]) == (64, 32)
    assert attachment["content_type"] == "image/png"
    assert await control.get(attachment["url"]) == (200, png())


async def test_what_the_bot_is_told(bot: SampleBot, control: Control, guild: str) -> None:
    await control.change_member(guild, "bo", locale="zh-CN", roles=[])
    await control.change_guild(guild, premium_tier=2, locale="de")
    bo = await control.person("bo")
    await (await bo.command("pictures", "draw", prompt="x")).response()
    inter = bot.last
    assert inter is not None
    assert inter.locale is discord.Locale.chinese
    assert inter.guild_locale is discord.Locale.german
    assert inter.filesize_limit == 50 * 1024 * 1024
    assert inter.entitlements == []
    assert isinstance(inter.user, discord.Member)
    assert inter.user.name == "bo"
    assert isinstance(inter.channel, discord.TextChannel)
    assert inter.channel.name == "pictures"
    assert inter.permissions.send_messages
    assert not inter.permissions.manage_messages
    assert inter.app_permissions.attach_files
    assert inter.context.guild


async def test_attachments_and_members_as_options(
    bot: SampleBot, ada: Person, control: Control
) -> None:
    upload = await ada.upload("in.png", png(10, 20))
    friend = next(u["id"] for u in (await ada.state())["users"] if u["username"] == "cy")
    act = await ada.command("general", "draw", prompt="x", source=upload, friend=friend)
    assert (await act.response())["content"] == "x 20 demo from 10x20 for cy"


async def test_subcommands(bot: SampleBot, ada: Person) -> None:
    act = await ada.command("general", "library list", page=3)
    message = await act.response()
    assert message["content"] == "page 3"
    assert message["interaction_metadata"]["name"] == "library list"


async def test_autocomplete(bot: SampleBot, ada: Person) -> None:
    choices = await ada.autocomplete("general", "draw", "model", "d", prompt="x")
    assert [c["value"] for c in choices] == ["demo", "dream"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"prompt": "x", "steps": 51}, "must be from 1 to 50"),
        ({"steps": 5}, "'prompt' is required"),
        ({"prompt": 5}, "can't be 5"),
        ({"prompt": "x", "source": "1"}, "no upload"),
    ],
)
async def test_options_are_checked_like_discords_client_does(
    bot: SampleBot, ada: Person, given: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        await ada.command("general", "draw", **given)


# -- components -----------------------------------------------------------------------------


async def test_a_button_that_changes_its_message(bot: SampleBot, ada: Person, bo: Person) -> None:
    message = await (await ada.command("general", "buttons")).response()
    for clicks, person in enumerate((ada, bo, ada), start=1):
        act = await person.click(message, "Count")
        await act.wait_for("INTERACTION_SUCCESS")
        message = await person.message("general", message["id"])
        assert message["content"] == f"count {clicks}"
    assert message["interaction_metadata"]["type"] == 2


async def test_a_deferred_update_shows_nothing_until_it_is_done(
    bot: SampleBot, ada: Person
) -> None:
    message = await (await ada.command("general", "buttons")).response()
    since = len(ada.events)
    await ada.click(message, "later")
    changed = await ada.wait_for("MESSAGE_UPDATE", since=since)
    assert changed["id"] == message["id"]
    assert changed["content"] == "later 1"
    assert not [e for e in ada.events[since:] if e["t"] == "MESSAGE_CREATE"]


async def test_an_ephemeral_reply_reaches_only_who_pressed(
    bot: SampleBot, ada: Person, bo: Person
) -> None:
    message = await (await ada.command("general", "buttons")).response()
    reply = await (await bo.click(message, "Reply")).response()
    assert reply["content"] == "a reply"
    assert reply["flags"] & 64
    assert reply["message_reference"]["message_id"] == message["id"]
    assert reply["id"] not in [m["id"] for m in await ada.messages("general")]
    assert reply["id"] in [m["id"] for m in await bo.messages("general")]
    assert not [e for e in ada.events if e["d"].get("content") == "a reply"]


async def test_a_disabled_button_cant_be_pressed(bot: SampleBot, ada: Person) -> None:
    message = await (await ada.command("general", "buttons")).response()
    with pytest.raises(ControlError, match="disabled"):
        await ada.click(message, "off")


async def test_a_select(bot: SampleBot, ada: Person) -> None:
    message = await (await ada.command("general", "buttons")).response()
    answer = await (await ada.click(message, "color", ["blue", "red"])).response()
    assert answer["content"] == "blue+red"
    for wrong in ([], ["red", "green", "blue"], ["pink"]):
        with pytest.raises(ControlError):
            await ada.click(message, "color", wrong)


# -- modals ---------------------------------------------------------------------------------


async def test_a_modal(bot: SampleBot, ada: Person) -> None:
    act = await ada.command("general", "feedback")
    assert (await act.modal())["title"] == "Feedback"
    upload = await ada.upload("proof.txt", b"12345")
    handed_in = await act.submit(text="fine", mood=["good"], proof=[upload])
    message = await handed_in.response()
    assert message["content"] == "fine|good|proof.txt:5"
    triggering = message["interaction_metadata"]["triggering_interaction_metadata"]
    assert triggering["id"] == act.id


async def test_a_modals_bounds(bot: SampleBot, ada: Person) -> None:
    act = await ada.command("general", "feedback")
    with pytest.raises(ControlError, match="2 to 50"):
        await act.submit(text="x")
    with pytest.raises(ControlError, match="among the options"):
        await act.submit(text="xx", mood=["odd"])
    await (await act.submit(text="xx")).response()
    with pytest.raises(ControlError, match="no such modal"):
        await act.submit(text="xx")


# -- context menus, direct messages ---------------------------------------------------------


async def test_a_message_menu_shows_the_content_without_the_intent(
    bot: SampleBot, ada: Person, bo: Person
) -> None:
    said = await bo.say("general", "wise words")
    message = await (await ada.use_on_message("Quote", said)).response()
    assert message["content"] == "> wise words"
    assert message["type"] == 23


async def test_a_user_menu(bot: SampleBot, ada: Person, guild: str, control: Control) -> None:
    role = await control.add_role(guild, "Painter")
    bo = await control.change_member(guild, "bo", roles=[role["id"]])
    act = await ada.use_on_user("general", "Who", bo["user"]["id"])
    assert (await act.response())["content"] == "bo 2"


async def test_commands_in_a_direct_message(bot: SampleBot, bo: Person) -> None:
    message = await (await bo.command("dm", "whisper")).response()
    assert message["content"] == "psst"
    inter = bot.last
    assert inter is not None
    assert inter.guild is None
    assert isinstance(inter.user, discord.User)
    assert inter.user.name == "bo"
    assert inter.context.dm_channel


async def test_the_bot_opens_a_direct_message(bot: SampleBot, bo: Person) -> None:
    person = await bot.fetch_user(int((await bo.state())["me"]["id"]))
    sent = await person.send("hello")
    message = await bo.wait_for("MESSAGE_CREATE")
    assert (message["id"], message["content"]) == (str(sent.id), "hello")


async def test_an_age_restricted_command_needs_such_a_channel(bot: SampleBot, ada: Person) -> None:
    with pytest.raises(ControlError, match="age-restricted"):
        await ada.command("general", "adult")
    assert (await (await ada.command("after-dark", "adult")).response())["content"] == "ok"


# -- time -----------------------------------------------------------------------------------


async def test_three_seconds_to_acknowledge(bot: SampleBot, ada: Person, control: Control) -> None:
    act = await ada.command("general", "silence")
    await bot.wait_seen("interaction")
    await control.clock(2.5)
    with pytest.raises(AssertionError, match="No INTERACTION_FAILURE"):
        await act.wait_for("INTERACTION_FAILURE", timeout=0.05)
    await control.clock(0.6)
    with pytest.raises(InteractionFailed, match="3 seconds"):
        await act.response()
    assert bot.last is not None
    with pytest.raises(discord.NotFound) as refusal:
        await bot.last.response.send_message("too late")
    assert refusal.value.code == 10062


@pytest.mark.slow
async def test_three_seconds_pass_by_themselves(bot: SampleBot, ada: Person) -> None:
    began = asyncio.get_running_loop().time()
    act = await ada.command("general", "silence")
    await act.wait_for("INTERACTION_FAILURE")
    assert asyncio.get_running_loop().time() - began > 2.5


@pytest.mark.parametrize("options", [Options(port=0, acknowledge_within=1000)])
async def test_a_bot_may_be_given_longer(bot: SampleBot, ada: Person, control: Control) -> None:
    act = await ada.command("general", "silence")
    await bot.wait_seen("interaction")
    await control.clock(900)
    with pytest.raises(AssertionError, match="No INTERACTION_FAILURE"):
        await act.wait_for("INTERACTION_FAILURE", timeout=0.05)
    await control.clock(100)
    with pytest.raises(InteractionFailed, match="1000 seconds"):
        await act.response()


async def test_a_token_lives_fifteen_minutes(bot: SampleBot, ada: Person, control: Control) -> None:
    await (await ada.command("general", "draw", prompt="x")).response()
    assert bot.last is not None
    await control.clock(15 * 60 - 30)
    await bot.last.edit_original_response(content="in time")
    await control.clock(31)
    for late in (
        bot.last.edit_original_response(content="late"),
        bot.last.followup.send("late"),
        bot.last.delete_original_response(),
    ):
        with pytest.raises(discord.HTTPException) as refusal:
            await late
        assert (refusal.value.status, refusal.value.code) == (401, 50027)


async def test_a_response_left_deferred_is_a_failure(
    addresses: object, rest: Rest, control: Control, ada: Person, general: str
) -> None:
    await _register(rest, "slow")
    act = await ada.command("general", "slow")
    answer = await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", {"type": 5})
    assert answer.status == 204
    await control.clock(15 * 60)
    with pytest.raises(InteractionFailed, match="never finished"):
        await act.response()


async def test_acknowledging_twice_is_40060(bot: SampleBot, ada: Person, rest: Rest) -> None:
    act = await ada.command("general", "whisper")
    await act.response()
    answer = await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", {"type": 5})
    assert (answer.status, answer.code) == (400, 40060)


# -- the token as a webhook -----------------------------------------------------------------


async def _register(rest: Rest, *names: str) -> str:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    commands = [{"name": name, "description": "x"} for name in names]
    made = await rest.call("PUT", f"/applications/{application}/commands", commands)
    assert made.status == 200, made.body
    return str(application)


async def test_follow_ups_and_the_original(ada: Person, rest: Rest) -> None:
    application = await _register(rest, "go")
    act = await ada.command("general", "go")
    hook = f"/webhooks/{application}/{act.token}"
    early = await rest.call("POST", hook, {"content": "too early"})
    assert (early.status, early.code) == (404, 10015)
    answered = await rest.call(
        "POST",
        f"/interactions/{act.id}/{act.token}/callback",
        {"type": 4, "data": {"content": "one"}},
        with_response="1",
    )
    original = answered.body["resource"]["message"]
    assert answered.body["interaction"]["response_message_id"] == original["id"]
    more = (await rest.call("POST", hook, {"content": "two"})).body
    assert more["message_reference"]["message_id"] == original["id"]
    got = await rest.call("GET", f"{hook}/messages/@original")
    assert got.body["content"] == "one"
    edited = await rest.call("PATCH", f"{hook}/messages/{more['id']}", {"content": "three"})
    assert edited.body["content"] == "three"
    assert (await rest.call("DELETE", f"{hook}/messages/@original")).status == 204
    assert [m["content"] for m in await ada.messages("general")] == ["three"]
    gone = await rest.call("GET", f"{hook}/messages/@original")
    assert (gone.status, gone.code) == (404, 10008)
    wrong = await rest.call("POST", f"/webhooks/{application}/wrong", {"content": "x"})
    assert (wrong.status, wrong.code) == (401, 50027)


async def test_the_first_follow_up_fills_a_deferred_response(ada: Person, rest: Rest) -> None:
    application = await _register(rest, "go")
    act = await ada.command("general", "go")
    await rest.call(
        "POST",
        f"/interactions/{act.id}/{act.token}/callback",
        {"type": 5, "data": {"flags": 64}},
    )
    deferred = await act.deferred()
    assert deferred["flags"] & (64 | 128) == 64 | 128
    sent = await rest.call("POST", f"/webhooks/{application}/{act.token}", {"content": "done"})
    assert sent.body["id"] == deferred["id"]
    message = await act.response()
    assert (message["content"], message["flags"] & 64) == ("done", 64)


async def test_another_interactions_message_is_unknown(ada: Person, rest: Rest) -> None:
    application = await _register(rest, "go")
    said = await ada.say("general", "mine")
    act = await ada.command("general", "go")
    body = {"type": 4, "data": {"content": "one"}}
    await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", body)
    hook = f"/webhooks/{application}/{act.token}/messages/{said['id']}"
    assert (await rest.call("PATCH", hook, {"content": "x"})).code == 10008


@pytest.mark.parametrize("kind", [1, 6, 7, 8, 12])
async def test_a_callback_must_fit_the_interaction(ada: Person, rest: Rest, kind: int) -> None:
    await _register(rest, "go")
    act = await ada.command("general", "go")
    answer = await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", {"type": kind})
    assert (answer.status, answer.code) == (400, 50035)
    # a refused callback acknowledges nothing
    body = {"type": 4, "data": {"content": "one"}}
    again = await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", body)
    assert again.status == 204


async def test_too_many_or_long_choices_are_refused(ada: Person, rest: Rest) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    option = {"name": "q", "description": "x", "type": 3, "autocomplete": True}
    command = {"name": "find", "description": "x", "options": [option]}
    await rest.call("PUT", f"/applications/{application}/commands", [command])
    for choices in (
        [{"name": str(n), "value": str(n)} for n in range(26)],
        [{"name": "n" * 101, "value": "v"}],
        [{"name": "n", "value": "v" * 101}],
        [{"name": "n", "value": 5}],
        [{"name": "", "value": "v"}],
    ):
        act = await ada.session.call(
            "POST",
            "/interactions",
            {
                "type": 4,
                "user": "ada",
                "channel": await ada.channel("general"),
                "command": (await ada.state())["commands"][0]["id"],
                "options": [{"name": "q", "type": 3, "value": "", "focused": True}],
            },
        )
        path = f"/interactions/{act['id']}/{act['token']}/callback"
        answer = await rest.call("POST", path, {"type": 8, "data": {"choices": choices}})
        assert answer.code == 50035, choices
        assert "choices" in answer.body["errors"]["data"]
