"""The app, installed to a person only: usable where its bot is no member, and what it can't do."""

from __future__ import annotations

import asyncio

import discord
import pytest

from playground.control import Control, ControlError, Person
from playground.permissions import Permission

from .bot import SampleBot, picture
from .conftest import Rest, running
from .test_messages import channel_of


@pytest.fixture
async def elsewhere(control: Control, ada: Person, bo: Person) -> str:
    """The channel of a server without the bot, where ada and bo are."""
    guild = await control.add_guild("Elsewhere", "ada", bot=False)
    await control.call("PUT", f"/guilds/{guild['id']}/members/bo", {})
    return str(guild["channels"][0]["id"])


async def test_only_who_installed_it_has_its_commands(
    bot: SampleBot, ada: Person, bo: Person, elsewhere: str
) -> None:
    assert len(bot.guilds) == 1
    with pytest.raises(ControlError, match="bot is not in this server"):
        await ada.command(elsewhere, "whisper")
    await ada.install_app()
    await (await ada.command(elsewhere, "whisper")).response()
    with pytest.raises(ControlError, match="bot is not in this server"):
        await bo.command(elsewhere, "whisper")
    await ada.install_app(remove=True)
    with pytest.raises(ControlError, match="bot is not in this server"):
        await ada.command(elsewhere, "whisper")


async def test_what_the_interaction_carries(
    bot: SampleBot, ada: Person, bo: Person, elsewhere: str
) -> None:
    await ada.install_app()
    message = await (await ada.command(elsewhere, "draw", prompt="x")).response()
    assert message["attachments"][0]["filename"] == "cat.png"
    inter = bot.last
    assert inter is not None
    assert inter.context.guild
    assert inter.is_user_integration()
    assert not inter.is_guild_integration()
    assert inter.user.name == "ada"
    assert isinstance(inter.channel, discord.TextChannel)
    assert inter.channel.id == int(elsewhere)
    may = inter.app_permissions
    assert may.attach_files
    assert may.embed_links
    assert not may.send_messages
    assert not may.view_channel
    # everybody sees the answer; nobody told the bot of it
    assert (await bo.message(elsewhere, message["id"]))["content"].startswith("x")
    assert bot.seen_of("message") == []


async def test_the_bot_can_do_nothing_there_but_answer(
    bot: SampleBot, ada: Person, bo: Person, rest: Rest, elsewhere: str
) -> None:
    await ada.install_app()
    message = await (await ada.command(elsewhere, "buttons")).response()
    place = f"/channels/{elsewhere}"
    for method, path, body in (
        ("GET", place, None),
        ("POST", f"{place}/messages", {"content": "x"}),
        ("PATCH", f"{place}/messages/{message['id']}", {"content": "x"}),
        ("PUT", f"{place}/messages/{message['id']}/reactions/%F0%9F%91%8D/@me", None),
        ("POST", f"{place}/typing", None),
    ):
        answer = await rest.call(method, path, body)
        assert (answer.status, answer.code) == (403, 50001), path
    # others may press its buttons
    await (await bo.click(message, "Count")).wait_for("INTERACTION_SUCCESS")
    assert (await ada.message(elsewhere, message["id"]))["content"] == "count 1"
    # reactions there are no news to it
    await bo.react(message, "👍")
    assert bot.seen_of("raw_reaction_add") == []


async def test_five_follow_ups(bot: SampleBot, ada: Person, elsewhere: str, rest: Rest) -> None:
    await ada.install_app()
    act = await ada.command(elsewhere, "silence")
    await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", {"type": 5})
    hook = f"/webhooks/{rest.addresses.application_id}/{act.token}"
    await rest.call("PATCH", f"{hook}/messages/@original", {"content": "x"})
    answers = [await rest.call("POST", hook, {"content": str(n)}) for n in range(5)]
    assert [a.status for a in answers] == [200] * 5
    await asyncio.sleep(2)  # the bucket's window
    sixth = await rest.call("POST", hook, {"content": "6"})
    assert (sixth.status, sixth.code) == (400, 40094)
    # the answer itself can still be changed
    edited = await rest.call("PATCH", f"{hook}/messages/@original", {"content": "y"})
    assert edited.status == 200


async def test_without_external_apps_answers_are_whispered(
    bot: SampleBot, ada: Person, bo: Person, control: Control, elsewhere: str
) -> None:
    await bo.install_app()
    bits = int(Permission.USE_EXTERNAL_APPS)
    guild = (await control.call("GET", "/state?user=bo"))["guilds"][1]["id"]
    await control.overwrite(elsewhere, guild, deny=bits)
    message = await (await bo.command(elsewhere, "draw", prompt="x")).response()
    assert message["flags"] & 64
    assert await ada.messages(elsewhere) == []


async def test_files_only_where_everyone_may_send_them(
    bot: SampleBot, ada: Person, control: Control, elsewhere: str
) -> None:
    await ada.install_app()
    guild = (await ada.state())["guilds"][1]["id"]
    await control.overwrite(elsewhere, guild, deny=int(Permission.ATTACH_FILES))
    await ada.command(elsewhere, "draw", prompt="x")
    await bot.wait_seen("interaction")
    assert bot.last is not None
    assert not bot.last.app_permissions.attach_files
    with pytest.raises(discord.Forbidden) as refusal:
        await bot.last.edit_original_response(attachments=[picture()])
    assert refusal.value.code == 50013
    await bot.last.edit_original_response(content="in words")


async def test_in_a_conversation_of_two_people(
    bot: SampleBot, ada: Person, bo: Person, rest: Rest
) -> None:
    channel = await ada.channel("dm:bo")
    assert await bo.channel("dm:ada") == channel
    with pytest.raises(ControlError, match="not in this conversation"):
        await ada.command(channel, "whisper")
    await ada.install_app()
    message = await (await ada.command(channel, "draw", prompt="x")).response()
    assert (await bo.message(channel, message["id"]))["content"].startswith("x")
    inter = bot.last
    assert inter is not None
    assert inter.context.private_channel
    assert inter.guild_id is None
    assert isinstance(inter.channel, discord.DMChannel)
    assert (
        await rest.call("POST", f"/channels/{channel}/messages", {"content": "x"})
    ).code == 50001
    await bo.say(channel, "between us")
    await bo.delete(await bo.say(channel, "gone"))
    assert bot.seen_of("message") == []
    assert bot.seen_of("raw_message_delete") == []


async def test_where_both_are_installed(bot: SampleBot, ada: Person) -> None:
    await ada.install_app()
    await (await ada.command("general", "draw", prompt="x")).response()
    assert bot.last is not None
    assert bot.last.is_user_integration()
    assert bot.last.is_guild_integration()
    await channel_of(bot).send("as ever")


async def test_a_command_may_keep_to_servers(
    bot: SampleBot, ada: Person, rest: Rest, elsewhere: str
) -> None:
    await ada.install_app()
    path = f"/applications/{rest.addresses.application_id}/commands"
    body = [
        {"name": "both", "description": "x"},
        {"name": "servers", "description": "x", "integration_types": [0]},
        {"name": "mine", "description": "x", "integration_types": [1], "contexts": [0]},
    ]
    made = (await rest.call("PUT", path, body)).body
    assert [c["integration_types"] for c in made] == [[0, 1], [0], [1]]
    assert "both" in [c["name"] for c in (await ada.state())["commands"]]
    with pytest.raises(ControlError, match="installed to a person"):
        await ada.command(elsewhere, "servers")
    with pytest.raises(ControlError, match="can't be used here"):
        await ada.command("dm", "mine")


async def test_nothing_is_heard_of_such_a_server_until_the_bot_joins(
    ada: Person, control: Control, elsewhere: str
) -> None:
    async with running(bot := SampleBot(enable_debug_events=True)):
        await _live_without(bot, ada, control, elsewhere)


async def _live_without(bot: SampleBot, ada: Person, control: Control, elsewhere: str) -> None:
    guild = (await ada.state())["guilds"][1]["id"]
    await control.add_channel(guild, "more")
    await control.add_role(guild, "Painter")
    await ada.delete(await ada.say(elsewhere, "x"))
    await ada.begin_thread(elsewhere, "sketches")
    await ada.say("dm", "a mark")
    await bot.wait_seen("message")
    frames = [frame for frame in bot.seen_of("socket_raw_receive") if guild in str(frame)]
    assert frames == []
    assert len(bot.guilds) == 1
    await control.call("PUT", f"/guilds/{guild}/members/Darkroom", {})
    await bot.wait_seen("guild_join")
    assert [c.name for c in bot.guilds[1].text_channels] == ["general", "more"]


async def test_the_bot_reads_what_is_written_to_it(
    control: Control, ada: Person, bot: SampleBot
) -> None:
    """Content of direct messages is given without the privileged intent."""
    await ada.say("dm", "hello")
    [message] = await bot.wait_seen("message")
    assert message.content == "hello"
    assert isinstance(message.channel, discord.DMChannel)


async def test_direct_messages_need_their_intent(control: Control, ada: Person) -> None:
    intents = discord.Intents.default()
    intents.dm_messages = False
    bot = SampleBot(intents)
    async with running(bot):
        await ada.say("dm", "hello")
        await ada.say("general", "a mark")
        [message] = await bot.wait_seen("message")
        assert isinstance(message.channel, discord.TextChannel)
