"""Messages of the bot and of people: attachments, edits, nonces, history, deletion."""

from __future__ import annotations

import io
from datetime import timedelta

import aiohttp
import discord
import pytest

from playground.control import Control, ControlError, Person

from .bot import SampleBot, picture, png
from .conftest import Rest

MIB = 1024 * 1024


def channel_of(bot: SampleBot, name: str = "general") -> discord.TextChannel:
    found = discord.utils.get(bot.guilds[0].text_channels, name=name)
    assert found is not None
    return found


async def test_a_message_with_everything(bot: SampleBot, ada: Person, control: Control) -> None:
    embed = discord.Embed(title="Seed 1", color=0x00FF00).set_image(url="attachment://cat.png")
    sent = await channel_of(bot).send(
        "Here", embed=embed, file=picture(), allowed_mentions=discord.AllowedMentions.none()
    )
    message = await ada.wait_for("MESSAGE_CREATE")
    assert message["id"] == str(sent.id)
    assert message["guild_id"] == str(bot.guilds[0].id)
    assert message["embeds"][0]["type"] == "rich"
    assert message["embeds"][0]["image"]["url"] == message["attachments"][0]["url"]
    assert (message["embeds"][0]["image"]["width"], message["embeds"][0]["color"]) == (64, 0xFF00)
    assert await sent.attachments[0].read() == png()
    [own] = await bot.wait_seen("message")
    assert own.content == "Here"


async def test_edits_keep_add_and_remove_attachments(bot: SampleBot, ada: Person) -> None:
    message = await channel_of(bot).send(files=[picture(name="a.png"), picture(name="b.png")])
    a, b = message.attachments
    message = await message.edit(attachments=[b, picture(8, 8, "c.png")])
    assert [x.filename for x in message.attachments] == ["b.png", "c.png"]
    assert message.attachments[0].id == b.id
    message = await message.edit(content="only text now", attachments=[])
    assert message.attachments == []
    assert message.edited_at is not None
    seen = await ada.message("general", str(message.id))
    assert (seen["content"], seen["attachments"]) == ("only text now", [])
    with pytest.raises(discord.NotFound):
        await a.read()


async def test_files_without_a_list_are_appended(ada: Person, rest: Rest, general: str) -> None:
    path = f"/channels/{general}/messages"
    made = await rest.call("POST", path, {"content": "x"}, files=[("a.txt", b"1")])
    await rest.call("PATCH", f"{path}/{made.body['id']}", {}, files=[("b.txt", b"2")])
    [message] = await ada.messages("general")
    assert [a["filename"] for a in message["attachments"]] == ["a.txt", "b.txt"]


async def test_descriptions_spoilers_and_names(rest: Rest, general: str) -> None:
    body = {
        "attachments": [
            {"id": 0, "filename": "my cat?.png", "description": "A cat"},
            {"id": "1", "filename": "SPOILER_x.bin"},
        ]
    }
    files = [("ignored.png", png(3, 4)), ("x.bin", b"\x00")]
    made = (await rest.call("POST", f"/channels/{general}/messages", body, files=files)).body
    first, second = made["attachments"]
    assert first["filename"] == "my_cat_.png"
    assert (first["description"], first["width"], first["height"]) == ("A cat", 3, 4)
    assert second["filename"] == "SPOILER_x.bin"
    assert "width" not in second


async def test_links_are_signed_and_end(
    rest: Rest, general: str, control: Control, ada: Person
) -> None:
    path = f"/channels/{general}/messages"
    made = (await rest.call("POST", path, {}, files=[("a.txt", b"hello")])).body
    url = made["attachments"][0]["url"]
    assert await control.get(url) == (200, b"hello")
    assert (await control.get(url.split("?")[0]))[0] == 404
    assert (await control.get(url.replace("hm=", "hm=0")))[0] == 404
    assert (await control.get(url.replace("ex=", "ex=f")))[0] == 404
    await control.clock(26 * 3600)
    assert (await control.get(url))[0] == 404
    again = (await rest.call("GET", f"{path}/{made['id']}")).body
    assert await control.get(again["attachments"][0]["url"]) == (200, b"hello")


@pytest.mark.parametrize(("tier", "limit"), [(0, 20), (2, 50)])
async def test_the_upload_limit_is_per_file(
    rest: Rest, general: str, control: Control, guild: str, tier: int, limit: int
) -> None:
    await control.change_guild(guild, premium_tier=tier)
    path = f"/channels/{general}/messages"
    fits, too_large = bytes(limit * MIB), bytes(limit * MIB + 1)
    refused = await rest.call("POST", path, {}, files=[("a", b"1"), ("b", too_large)])
    assert (refused.status, refused.code) == (413, 40005)
    assert (await rest.call("POST", path, {}, files=[("a", fits)])).status == 200


async def test_discord_py_reports_413(bot: SampleBot, ada: Person) -> None:
    large = discord.File(io.BytesIO(bytes(20 * MIB + 1)), "large.bin")
    with pytest.raises(discord.HTTPException) as refusal:
        await channel_of(bot).send(file=large)
    assert (refusal.value.status, refusal.value.code) == (413, 40005)
    assert await ada.messages("general") == []


async def test_an_enforced_nonce_posts_once(
    bot: SampleBot, ada: Person, control: Control, rest: Rest, general: str
) -> None:
    await control.limits(enabled=False)
    first = await channel_of(bot).send("once", nonce="job-1")
    again = await channel_of(bot).send("twice", nonce="job-1")
    assert again.id == first.id
    assert (await ada.wait_for("MESSAGE_CREATE"))["nonce"] == "job-1"
    other = await channel_of(bot).send("other", nonce="job-2")
    assert other.id != first.id
    free = {"content": "not enforced", "nonce": "job-1"}
    assert (await rest.call("POST", f"/channels/{general}/messages", free)).status == 200
    assert [m["content"] for m in await ada.messages("general")] == [
        "once",
        "other",
        "not enforced",
    ]
    await control.clock(6 * 60)
    later = await channel_of(bot).send("later", nonce="job-2")
    assert later.id != other.id
    # the moved clock makes no new message old
    assert (await channel_of(bot).send("later again", nonce="job-2")).id == later.id


async def test_an_answer_lost_after_the_message_was_made(
    bot: SampleBot, ada: Person, control: Control
) -> None:
    await control.fault("/messages$", method="POST", drop=True, after=True)
    with pytest.raises(aiohttp.ClientError):
        await channel_of(bot).send("once", nonce="n")
    assert [m["content"] for m in await ada.messages("general")] == ["once"]
    await channel_of(bot).send("once", nonce="n")
    assert len(await ada.messages("general")) == 1


async def test_replies(bot: SampleBot, ada: Person, rest: Rest, general: str) -> None:
    said = await ada.say("general", "question")
    [heard] = await bot.wait_seen("message")
    reply = await heard.reply("answer")
    message = await ada.message("general", str(reply.id))
    assert message["type"] == 19
    assert message["referenced_message"]["content"] == "question"
    assert [u["username"] for u in message["mentions"]] == ["ada"]
    silent = await heard.reply("quiet", mention_author=False)
    assert (await ada.message("general", str(silent.id)))["mentions"] == []
    body = {"content": "x", "message_reference": {"message_id": "1"}}
    refused = await rest.call("POST", f"/channels/{general}/messages", body)
    assert refused.code == 50035
    assert refused.body["errors"]["message_reference"]["_errors"][0]["code"] == (
        "REPLIES_UNKNOWN_MESSAGE"
    )
    body["message_reference"] = {"message_id": "1", "fail_if_not_exists": False}
    assert (await rest.call("POST", f"/channels/{general}/messages", body)).status == 200
    answer = await ada.say("general", "thanks", reply_to=str(reply.id))
    assert answer["referenced_message"]["id"] == str(reply.id)
    assert said["id"] != answer["id"]


async def test_allowed_mentions(rest: Rest, general: str, ada: Person) -> None:
    me = (await ada.state())["me"]["id"]
    content = f"<@{me}> @everyone"
    path = f"/channels/{general}/messages"
    default = (await rest.call("POST", path, {"content": content})).body
    assert [u["id"] for u in default["mentions"]] == [me]
    # an ordinary bot may not mention everyone
    assert default["mention_everyone"] is False
    none = await rest.call("POST", path, {"content": content, "allowed_mentions": {"parse": []}})
    assert none.body["mentions"] == []
    both = {"parse": ["users"], "users": [me]}
    wrong = await rest.call("POST", path, {"content": content, "allowed_mentions": both})
    assert wrong.code == 50035


async def test_history(bot: SampleBot, ada: Person) -> None:
    said = [await ada.say("pictures", str(n)) for n in range(5)]
    ids = [int(m["id"]) for m in said]
    channel = channel_of(bot, "pictures")
    assert [m.id async for m in channel.history(limit=3)] == ids[:1:-1]
    before = channel.history(before=discord.Object(ids[2]))
    assert [m.id async for m in before] == ids[1::-1]
    after = channel.history(after=discord.Object(ids[2]), oldest_first=True)
    assert [m.id async for m in after] == ids[3:]
    fetched = await channel.fetch_message(ids[0])
    assert fetched.author.name == "ada"


async def test_deleting(bot: SampleBot, ada: Person, rest: Rest, general: str) -> None:
    message = await channel_of(bot).send("gone soon", file=picture())
    await message.delete()
    assert (await ada.wait_for("MESSAGE_DELETE"))["id"] == str(message.id)
    gone = await rest.call("GET", f"/channels/{general}/messages/{message.id}")
    assert (gone.status, gone.code) == (404, 10008)
    with pytest.raises(discord.NotFound):
        await message.attachments[0].read()


async def test_a_person_deletes_the_bots_message(bot: SampleBot, ada: Person, bo: Person) -> None:
    message = await channel_of(bot).send("result")
    seen = await bo.message("general", str(message.id))
    with pytest.raises(ControlError, match="MANAGE_MESSAGES"):
        await bo.delete(seen)
    await ada.delete(seen)
    [event] = await bot.wait_seen("raw_message_delete")
    assert event.message_id == message.id


async def test_bulk_delete(
    bot: SampleBot, ada: Person, control: Control, guild: str, rest: Rest, general: str
) -> None:
    ids = [(await ada.say("general", str(n)))["id"] for n in range(4)]
    path = f"/channels/{general}/messages/bulk-delete"
    assert (await rest.call("POST", path, {"messages": ids})).code == 50013
    await _give_bot(control, guild, 1 << 13)
    assert (await rest.call("POST", path, {"messages": ids[:1]})).code == 50016
    assert (await rest.call("POST", path, {"messages": ids[:3]})).status == 204
    [event] = await bot.wait_seen("raw_bulk_message_delete")
    assert event.message_ids == {int(i) for i in ids[:3]}
    assert [m["id"] for m in await ada.messages("general")] == ids[3:]
    await control.clock(timedelta(days=15).total_seconds())
    too_old = await rest.call("POST", path, {"messages": [ids[3], ids[2]]})
    assert too_old.code == 50034


async def _give_bot(control: Control, guild: str, permissions: int) -> None:
    role = await control.add_role(guild, "More", permissions)
    state = await (await control.person("ada")).state()
    bot = state["application"]["bot"]["id"]
    own = next(g for g in state["guilds"] if g["id"] == guild)
    member = next(m for m in own["members"] if m["user"]["id"] == bot)
    await control.change_member(guild, bot, roles=[*member["roles"], role["id"]])


async def test_an_ephemeral_message_is_not_in_its_channel(
    bot: SampleBot, ada: Person, rest: Rest, general: str
) -> None:
    message = await (await ada.command("general", "whisper")).response()
    place = f"/channels/{general}/messages/{message['id']}"
    for method, path, body in (
        ("GET", place, None),
        ("PATCH", place, {"content": "x"}),
        ("DELETE", place, None),
        ("PUT", f"{place}/reactions/%F0%9F%91%8D/@me", None),
    ):
        assert (await rest.call(method, path, body)).code == 10008, method
    assert (await rest.call("GET", f"/channels/{general}/messages")).body == []
    created = [m for m in bot.seen_of("message") if str(m.id) == message["id"]]
    # "guild_id … unless it is an ephemeral message"
    assert [m.guild for m in created] == [None]


async def test_typing_and_pins(bot: SampleBot, ada: Person, control: Control, guild: str) -> None:
    channel = channel_of(bot)
    async with channel.typing():
        assert (await ada.wait_for("TYPING_START"))["user_id"] == str(channel.guild.me.id)
    message = await channel.send("pin me")
    with pytest.raises(discord.Forbidden):
        await message.pin()
    await _give_bot(control, guild, 1 << 51)
    await message.pin()
    assert [m.id async for m in channel.pins()] == [message.id]


async def test_people_send_files(bot: SampleBot, ada: Person) -> None:
    sent = await ada.say_with_file("dm", "photo.png", png(5, 6))
    [message] = await bot.wait_seen("message")
    assert message.id == int(sent["id"])
    [attachment] = message.attachments
    assert (attachment.width, attachment.height) == (5, 6)
    assert await attachment.read() == png(5, 6)


async def test_the_bot_cant_edit_others_messages(rest: Rest, ada: Person, general: str) -> None:
    said = await ada.say("general", "mine")
    path = f"/channels/{general}/messages/{said['id']}"
    refused = await rest.call("PATCH", path, {"content": "yours"})
    assert (refused.status, refused.code) == (403, 50005)


async def test_components_v2(bot: SampleBot, ada: Person) -> None:
    class Layout(discord.ui.LayoutView):
        box: discord.ui.Container[Layout] = discord.ui.Container(
            discord.ui.TextDisplay("# Result"),
            discord.ui.MediaGallery(discord.MediaGalleryItem("attachment://cat.png")),
            discord.ui.ActionRow(discord.ui.Button(label="Again", custom_id="again")),
        )

    message = await channel_of(bot).send(view=Layout(), file=picture())
    seen = await ada.message("general", str(message.id))
    assert seen["flags"] & (1 << 15)
    [box] = seen["components"]
    text, gallery, row = box["components"]
    assert text["content"] == "# Result"
    assert gallery["items"][0]["media"]["url"] == seen["attachments"][0]["url"]
    assert row["components"][0]["id"] == 5
    with pytest.raises(discord.HTTPException) as refusal:
        await message.edit(content="text again")
    assert refusal.value.code == 50035
