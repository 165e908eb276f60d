"""Reactions both ways, and the permissions they need."""

from __future__ import annotations

import discord
import pytest

from playground.control import Control, ControlError, Person
from playground.permissions import Permission

from .bot import SampleBot
from .conftest import Rest
from .test_messages import _give_bot, channel_of


async def test_the_bot_adds_lists_and_removes(bot: SampleBot, ada: Person, bo: Person) -> None:
    message = await channel_of(bot).send("rate me")
    await message.add_reaction("👍")
    added = await ada.wait_for("MESSAGE_REACTION_ADD")
    assert added["emoji"] == {"id": None, "name": "👍"}
    assert added["message_author_id"] == str(bot.user.id) if bot.user else False
    await bo.react(await bo.message("general", str(message.id)), "👍")
    fresh = await message.fetch()
    [reaction] = fresh.reactions
    assert (reaction.count, reaction.me) == (2, True)
    assert {u.name async for u in reaction.users()} == {"Darkroom", "bo"}
    assert bot.user is not None
    await message.remove_reaction("👍", bot.user)
    [reaction] = (await message.fetch()).reactions
    assert (reaction.count, reaction.me) == (1, False)


async def test_people_react(bot: SampleBot, ada: Person) -> None:
    message = await channel_of(bot).send("rate me")
    seen = await ada.message("general", str(message.id))
    await ada.react(seen, "🔁")
    await ada.react(seen, "🔁")
    [event] = await bot.wait_seen("raw_reaction_add")
    assert event.emoji.name == "🔁"
    assert event.message_id == message.id
    assert event.member.name == "ada"
    assert event.message_author_id == channel_of(bot).guild.me.id
    await ada.unreact(seen, "🔁")
    [removed] = await bot.wait_seen("raw_reaction_remove")
    assert removed.user_id == event.user_id
    assert (await message.fetch()).reactions == []
    assert len(bot.seen_of("raw_reaction_add")) == 1


async def test_reactions_in_direct_messages(bot: SampleBot, bo: Person) -> None:
    said = await bo.say("dm", "hello")
    await bo.react(said, "❤️")
    [event] = await bot.wait_seen("raw_reaction_add")
    assert event.guild_id is None
    # with and without the variation selector it is one emoji
    await bo.unreact(said, "❤")
    await bot.wait_seen("raw_reaction_remove")


async def test_permissions(
    bot: SampleBot, ada: Person, bo: Person, control: Control, guild: str, general: str
) -> None:
    message = await channel_of(bot).send("rate me")
    assert bot.user is not None
    seen = await bo.message("general", str(message.id))
    await control.overwrite(general, guild, deny=Permission.ADD_REACTIONS)
    await control.overwrite(general, str(bot.user.id), deny=Permission.ADD_REACTIONS)
    with pytest.raises(discord.Forbidden) as refusal:
        await message.add_reaction("👍")
    assert refusal.value.code == 50013
    with pytest.raises(ControlError, match="50013"):
        await bo.react(seen, "👍")
    # ada owns the server; others may join a reaction that is there
    await ada.react(seen, "👍")
    await bo.react(seen, "👍")
    await message.add_reaction("👍")
    with pytest.raises(discord.Forbidden):
        await message.remove_reaction("👍", discord.Object(int((await bo.state())["me"]["id"])))
    with pytest.raises(discord.Forbidden):
        await message.clear_reactions()
    await _give_bot(control, guild, Permission.MANAGE_MESSAGES)
    await message.clear_reaction("👍")
    assert (await message.fetch()).reactions == []
    await ada.wait_for("MESSAGE_REACTION_REMOVE_EMOJI")
    await message.clear_reactions()
    await ada.wait_for("MESSAGE_REACTION_REMOVE_ALL")


@pytest.mark.parametrize("emoji", ["abc", "name%3A123456789012345678", "1"])
async def test_what_is_no_emoji(rest: Rest, ada: Person, general: str, emoji: str) -> None:
    said = await ada.say("general", "x")
    path = f"/channels/{general}/messages/{said['id']}/reactions/{emoji}/@me"
    refused = await rest.call("PUT", path)
    assert (refused.status, refused.code) == (400, 10014)


async def test_at_most_twenty_different(control: Control, ada: Person) -> None:
    said = await ada.say("general", "x")
    for n in range(20):
        await ada.react(said, chr(0x1F600 + n))
    with pytest.raises(ControlError, match="30010"):
        await ada.react(said, "👍")
    await (await control.person("bo")).react(said, "\U0001f600")
