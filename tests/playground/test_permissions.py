"""Roles, overwrites, time-outs: what the bot and the people may do."""

from __future__ import annotations

import discord
import pytest

from playground.control import Control, ControlError, Person
from playground.permissions import Permission

from .bot import SampleBot, picture
from .conftest import Rest
from .test_messages import channel_of

P = Permission


async def test_no_access_and_no_permission(
    rest: Rest, control: Control, ada: Person, guild: str, general: str
) -> None:
    said = await ada.say("general", "x")
    path = f"/channels/{general}/messages"
    bot = (await ada.state())["application"]["bot"]["id"]
    await control.overwrite(general, bot, deny=P.SEND_MESSAGES)
    refused = await rest.call("POST", path, {"content": "x"})
    assert (refused.status, refused.code) == (403, 50013)
    assert (await rest.call("GET", path)).status == 200
    await control.overwrite(general, bot, deny=P.READ_MESSAGE_HISTORY)
    assert (await rest.call("GET", path)).body == []
    assert (await rest.call("GET", f"{path}/{said['id']}")).code == 50013
    await control.overwrite(general, bot, deny=P.VIEW_CHANNEL)
    for method, place, body in (
        ("POST", path, {"content": "x"}),
        ("GET", path, None),
        ("GET", f"/channels/{general}", None),
    ):
        refused = await rest.call(method, place, body)
        assert (refused.status, refused.code) == (403, 50001), place


async def test_files_and_embeds_need_their_permission(
    bot: SampleBot, control: Control, general: str
) -> None:
    assert bot.user is not None
    await control.overwrite(general, str(bot.user.id), deny=P.ATTACH_FILES | P.EMBED_LINKS)
    with pytest.raises(discord.Forbidden) as refusal:
        await channel_of(bot).send(file=picture())
    assert refusal.value.code == 50013
    with pytest.raises(discord.Forbidden):
        await channel_of(bot).send(embed=discord.Embed(title="x"))
    await channel_of(bot).send("text")


async def test_the_client_computes_the_same(
    bot: SampleBot, control: Control, ada: Person, guild: str, general: str
) -> None:
    assert bot.user is not None
    role = await control.add_role(guild, "Painters", P.MANAGE_MESSAGES)
    bo = (await control.change_member(guild, "bo", roles=[role["id"]]))["user"]["id"]
    await control.overwrite(general, guild, deny=P.SEND_MESSAGES | P.ADD_REACTIONS)
    await control.overwrite(general, role["id"], allow=P.ADD_REACTIONS, deny=P.MANAGE_MESSAGES)
    await control.overwrite(general, bo, allow=P.SEND_MESSAGES)
    await (await (await control.person("bo")).command("general", "library list")).response()
    inter = bot.seen_of("interaction")[-1]
    assert inter.permissions.send_messages
    assert inter.permissions.add_reactions
    assert not inter.permissions.manage_messages
    # discord.py leaves voice permissions out of text channels
    voice = int(P.CONNECT | P.SPEAK)
    computed = inter.channel.permissions_for(inter.user)
    assert inter.permissions.value & ~voice == computed.value
    computed = inter.channel.permissions_for(inter.guild.me)
    assert inter.app_permissions.value & ~voice == computed.value
    assert not inter.app_permissions.send_messages


async def test_administrators_and_owners_may_everything(
    bot: SampleBot, control: Control, guild: str, general: str, ada: Person, bo: Person
) -> None:
    await control.overwrite(general, guild, deny=P.VIEW_CHANNEL)
    await ada.say("general", "the owner sees it")
    with pytest.raises(ControlError, match="can't see"):
        await bo.say(general, "x")
    admin = await control.add_role(guild, "Admin", P.ADMINISTRATOR)
    await control.change_member(guild, "bo", roles=[admin["id"]])
    await bo.say("general", "now so do I")


async def test_a_hidden_channels_events_do_not_come(
    bot: SampleBot, control: Control, guild: str, ada: Person, bo: Person
) -> None:
    secret = await control.add_channel(guild, "secret")
    await control.overwrite(secret["id"], guild, deny=P.VIEW_CHANNEL)
    await control.overwrite(secret["id"], str(channel_of(bot).guild.me.id), deny=P.VIEW_CHANNEL)
    said = await ada.say("secret", "psst")
    after = await ada.say("general", "hi")
    await bo.wait_for("MESSAGE_CREATE", lambda m: m["id"] == after["id"])
    await bot.wait_seen("message")
    assert said["id"] not in [e["d"].get("id") for e in bo.events]
    assert [str(m.id) for m in bot.seen_of("message")] == [after["id"]]
    names = [c["name"] for c in (await bo.state())["guilds"][0]["channels"]]
    assert "secret" not in names


async def test_a_timed_out_member_is_silent(control: Control, guild: str, bo: Person) -> None:
    await control.change_member(guild, "bo", timeout=60)
    with pytest.raises(ControlError, match="SEND_MESSAGES"):
        await bo.say("general", "x")
    await control.clock(61)
    await bo.say("general", "x")


async def test_default_member_permissions(
    rest: Rest, control: Control, ada: Person, bo: Person, guild: str
) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    bits = str(int(P.MANAGE_MESSAGES))
    command = {"name": "mods", "description": "x", "default_member_permissions": bits}
    await rest.call("PUT", f"/applications/{application}/commands", [command])
    with pytest.raises(ControlError, match="don't have permission"):
        await bo.command("general", "mods")
    role = await control.add_role(guild, "Mod", P.MANAGE_MESSAGES)
    await control.change_member(guild, "bo", roles=[role["id"]])
    await bo.command("general", "mods")
    # in a direct message there is nothing to moderate
    await (await control.person("cy")).command("dm", "mods")


async def test_unknown_things(rest: Rest, general: str) -> None:
    for path, code in (
        ("/channels/1", 10003),
        ("/channels/1/messages", 10003),
        (f"/channels/{general}/messages/1", 10008),
        ("/guilds/1", 10004),
        ("/users/1", 10013),
        ("/nowhere", 0),
    ):
        answer = await rest.call("GET", path)
        assert (answer.status, answer.code) == (404, code), path


async def test_leaving_and_joining(
    bot: SampleBot, control: Control, guild: str, ada: Person, rest: Rest
) -> None:
    assert bot.user is not None
    await control.remove_member(guild, str(bot.user.id))
    await bot.wait_seen("guild_remove")
    assert (await rest.call("GET", f"/guilds/{guild}")).code == 50001
    assert (await ada.state())["commands"] == []
    with pytest.raises(ControlError, match="Cannot send messages"):
        await ada.say("dm", "are you there?")
    await control.call("PUT", f"/guilds/{guild}/members/{bot.user.id}", {})
    await bot.wait_seen("guild_join")
    other = await control.add_guild("Second", owner="bo")
    await bot.wait_seen("guild_join", 2)
    assert {g.name for g in bot.guilds} == {"Darkroom", "Second"}
    assert (await rest.call("GET", f"/guilds/{other['id']}")).body["name"] == "Second"
