"""Threads and forum posts, as the bot's library and the people see them."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest

from playground.control import Control, ControlError, Person
from playground.permissions import Permission
from tests.patience import PATIENCE

from .bot import SampleBot
from .conftest import Rest, running
from .test_messages import channel_of


async def thread_of(bot: SampleBot, thread: dict[str, Any]) -> discord.Thread:
    async with asyncio.timeout(PATIENCE):
        while (found := bot.guilds[0].get_thread(int(thread["id"]))) is None:
            await asyncio.sleep(0.01)
    return found


async def test_a_public_thread(bot: SampleBot, ada: Person, bo: Person, general: str) -> None:
    made = await ada.begin_thread("general", "sketches")
    thread = await thread_of(bot, made)
    assert (thread.name, thread.parent_id, thread.type.name) == (
        "sketches",
        int(general),
        "public_thread",
    )
    assert not thread.archived
    assert thread.is_nsfw() is False
    assert thread.me is None
    assert thread.permissions_for(bot.guilds[0].me).send_messages_in_threads
    sent = await thread.send("hello")
    assert [m["content"] for m in await bo.messages("sketches")] == ["hello"]
    await bo.react(await bo.message(made["id"], str(sent.id)), "👍")
    [reaction] = await bot.wait_seen("raw_reaction_add")
    assert reaction.channel_id == thread.id
    await sent.add_reaction("🔁")
    await sent.edit(content="changed")
    assert (await bo.message(made["id"], str(sent.id)))["content"] == "changed"


async def test_who_writes_or_is_mentioned_is_in_it(
    bot: SampleBot, ada: Person, bo: Person, rest: Rest
) -> None:
    made = await ada.begin_thread("general", "sketches")
    await bo.say("sketches", "me too")
    thread = await thread_of(bot, made)
    await thread.send("x")
    members = {m.id for m in await thread.fetch_members()}
    state = await ada.state()
    assert members == {int(state["me"]["id"]), int((await bo.state())["me"]["id"]), bot.user.id}  # type: ignore[union-attr]
    await thread.leave()
    assert bot.user.id not in {m.id for m in await thread.fetch_members()}  # type: ignore[union-attr]
    fresh = (await rest.call("GET", f"/channels/{thread.id}")).body
    assert (fresh["message_count"], fresh["member_count"]) == (2, 2)


async def test_a_thread_from_a_message(bot: SampleBot, ada: Person) -> None:
    said = await ada.say("general", "look")
    made = await ada.begin_thread("general", "about it", message=said)
    assert made["id"] == said["id"]
    started = await ada.message("general", said["id"])
    assert started["thread"]["name"] == "about it"
    assert started["flags"] & 32
    [first] = await ada.messages("about it")
    assert first["type"] == 21
    assert first["referenced_message"]["content"] == "look"
    with pytest.raises(ControlError, match="already been created"):
        await ada.begin_thread("general", "again", message=said)
    message = await channel_of(bot).send("mine")
    thread = await message.create_thread(name="the bot's")
    assert thread.id == message.id
    await thread.send("in it")
    assert [m["content"] for m in await ada.messages("the bot's")][1:] == ["in it"]


async def test_a_private_thread_is_seen_by_those_in_it(
    bot: SampleBot, ada: Person, bo: Person, rest: Rest, control: Control
) -> None:
    made = await bo.begin_thread("general", "secret", private=True)
    assert made["thread_metadata"]["invitable"] is True
    cy = await control.person("cy")
    assert [t["name"] for g in (await cy.state())["guilds"] for t in g["threads"]] == []
    with pytest.raises(ControlError, match="can't see"):
        await cy.say(made["id"], "x")
    refused = await rest.call("POST", f"/channels/{made['id']}/messages", {"content": "x"})
    assert (refused.status, refused.code) == (403, 50001)
    assert bot.guilds[0].get_thread(int(made["id"])) is None
    # its commands work there all the same, but nothing else
    act = await bo.command(made["id"], "draw", prompt="x")
    message = await act.response()
    assert message["content"].startswith("x")
    assert message["channel_id"] == made["id"]
    put = f"/channels/{made['id']}/messages/{message['id']}/reactions/%F0%9F%91%8D/@me"
    assert (await rest.call("PUT", put)).code == 50001
    # ada owns the server and sees it; bo lets cy and the bot in
    assert await ada.channel("secret") == made["id"]
    await bo.let_in(made["id"], "cy")
    await cy.wait_for("THREAD_CREATE")
    await bo.let_in(made["id"], "Darkroom")
    thread = await thread_of(bot, made)
    assert thread.is_private()
    assert thread.me is not None
    await thread.send("here I am")
    await bo.put_out(made["id"], "cy")
    await cy.wait_for("THREAD_DELETE")
    with pytest.raises(ControlError, match="can't see"):
        await cy.messages(made["id"])


async def test_a_mention_lets_the_bot_in(bot: SampleBot, bo: Person) -> None:
    made = await bo.begin_thread("general", "secret", private=True)
    assert bot.user is not None
    await bo.say(made["id"], f"<@{bot.user.id}> come")
    thread = await thread_of(bot, made)
    [message] = await bot.wait_seen("message")
    assert message.channel == thread


async def test_a_forum_and_its_posts(
    bot: SampleBot, ada: Person, guild: str, control: Control, rest: Rest
) -> None:
    forum = await control.add_channel(guild, "showcase", forum=True, tags=["wip", "done"])
    plain = await control.add_channel(guild, "plain", forum=True)
    assert plain["available_tags"] == []
    await bot.wait_seen("guild_channel_create", 2)
    seen = bot.guilds[0].get_channel(int(forum["id"]))
    assert isinstance(seen, discord.ForumChannel)
    assert [tag.name for tag in seen.available_tags] == ["wip", "done"]
    post = await ada.post(
        "showcase", "My fox", "what do you think?", tags=[str(seen.available_tags[0].id)]
    )
    thread = await thread_of(bot, post)
    assert thread.parent == seen
    assert [tag.name for tag in thread.applied_tags] == ["wip"]
    [first] = await ada.messages("My fox")
    assert first["id"] == post["id"]
    assert first["content"] == "what do you think?"
    await thread.send("nice")
    assert (await rest.call("GET", f"/channels/{thread.id}")).body["message_count"] == 1
    made = await seen.create_thread(name="the bot's", content="first")
    assert made.message.id == made.thread.id
    wrong = await rest.call("POST", f"/channels/{forum['id']}/messages", {"content": "x"})
    assert wrong.status == 400
    for bad in ({"name": "x"}, {"message": {"content": "x"}}, {"name": "x", "message": {}}):
        answer = await rest.call("POST", f"/channels/{forum['id']}/threads", bad)
        assert answer.status == 400
    tag = {"name": "x", "message": {"content": "x"}, "applied_tags": ["5"]}
    assert (await rest.call("POST", f"/channels/{forum['id']}/threads", tag)).code == 50035
    with pytest.raises(ControlError, match="can't be used here"):
        await ada.command("showcase", "whisper")


async def test_archived_and_locked(bot: SampleBot, ada: Person, bo: Person, rest: Rest) -> None:
    made = await ada.begin_thread("general", "old")
    thread = await thread_of(bot, made)
    message = await thread.send("x")
    await ada.change_thread(made["id"], archived=True)
    await bot.wait_seen("thread_update")
    assert [t["name"] for g in (await bo.state())["guilds"] for t in g["threads"]] == []
    with pytest.raises(discord.HTTPException) as refusal:
        await message.add_reaction("👍")
    assert refusal.value.code == 50083
    with pytest.raises(discord.HTTPException):
        await message.edit(content="y")
    found = await rest.call("GET", f"/channels/{thread.parent_id}/threads/archived/public")
    assert [t["name"] for t in found.body["threads"]] == ["old"]
    # a message opens it again
    await thread.send("awake")
    await message.edit(content="y")
    await ada.change_thread(made["id"], locked=True)
    await ada.change_thread(made["id"], archived=True)
    for answer in (
        await rest.call("POST", f"/channels/{thread.id}/messages", {"content": "x"}),
        await rest.call("PATCH", f"/channels/{thread.id}/messages/{message.id}", {"content": "x"}),
    ):
        assert (answer.status, answer.code) == (400, 50083)
    with pytest.raises(ControlError):
        await bo.say(made["id"], "x")


async def test_writing_in_threads_is_a_permission_of_its_own(
    bot: SampleBot, ada: Person, control: Control, general: str, rest: Rest
) -> None:
    made = await ada.begin_thread("general", "sketches")
    path = f"/channels/{made['id']}/messages"
    bits = int(Permission.SEND_MESSAGES_IN_THREADS)
    await control.overwrite(general, "Darkroom", deny=bits)
    assert (await rest.call("POST", path, {"content": "x"})).code == 50013
    assert (
        await rest.call("POST", f"/channels/{general}/messages", {"content": "x"})
    ).status == 200
    await control.overwrite(general, "Darkroom", deny=int(Permission.SEND_MESSAGES))
    assert (await rest.call("POST", path, {"content": "x"})).status == 200
    await control.overwrite(general, "Darkroom", deny=int(Permission.VIEW_CHANNEL))
    assert (await rest.call("POST", path, {"content": "x"})).code == 50001


async def test_a_client_that_comes_later_knows_the_threads(
    control: Control, ada: Person, rest: Rest, guild: str
) -> None:
    made = await ada.begin_thread("general", "sketches")
    await ada.begin_thread("general", "secret", private=True)
    bot = SampleBot()
    async with running(bot):
        assert [t.name for t in bot.guilds[0].threads] == ["sketches"]
    active = await rest.call("GET", f"/guilds/{guild}/threads/active")
    assert [t["id"] for t in active.body["threads"]] == [made["id"]]
    await control.delete_channel(made["parent_id"])
    with pytest.raises(ControlError, match="Unknown Channel"):
        await ada.messages(made["id"])


async def test_an_interaction_in_a_thread(bot: SampleBot, ada: Person) -> None:
    made = await ada.begin_thread("general", "sketches")
    message = await (await ada.command("sketches", "draw", prompt="x")).response()
    assert message["content"].startswith("x")
    assert bot.last is not None
    assert isinstance(bot.last.channel, discord.Thread)
    assert bot.last.channel.id == int(made["id"])
    assert bot.last.app_permissions.send_messages_in_threads
