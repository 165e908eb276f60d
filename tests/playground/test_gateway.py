"""Login, sessions, resuming, heartbeats, intents, against an unmodified client."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import aiohttp
import discord
import pytest

from playground.control import Control, Person
from playground.server import Addresses, Options
from tests.patience import PATIENCE

from .bot import SampleBot
from .conftest import Rest, running


async def test_the_client_logs_in_and_sees_the_server(bot: SampleBot, ada: Person) -> None:
    assert bot.user is not None
    assert bot.application is not None
    assert bot.application.id == bot.user.id
    server = bot.guilds[0]
    assert server.name == "Darkroom"
    assert [c.name for c in server.text_channels] == ["general", "pictures", "after-dark"]
    assert [c.nsfw for c in server.text_channels] == [False, False, True]
    granted = server.text_channels[0].permissions_for(server.me)
    assert granted.send_messages
    assert granted.attach_files
    assert granted.add_reactions
    assert not granted.manage_messages
    assert (await ada.state())["application"]["online"] is True


async def test_going_offline_is_seen(control: Control, ada: Person) -> None:
    async with running(SampleBot()):
        came = await ada.wait_for("APPLICATION_STATUS")
        assert came == {"online": True, "activity": ""}
    gone = await ada.wait_for("APPLICATION_STATUS", lambda data: not data["online"])
    assert gone == {"online": False, "activity": ""}


async def test_a_dropped_connection_is_resumed_and_events_are_replayed(
    bot: SampleBot, control: Control, ada: Person
) -> None:
    await control.gateway("drop")
    said = await ada.say("general", "while you were away")
    await bot.wait_seen("resumed")
    messages = await bot.wait_seen("message")
    assert [m.id for m in messages] == [int(said["id"])]
    assert len(bot.seen_of("ready")) == 1


async def test_op_7_makes_the_client_resume(bot: SampleBot, control: Control) -> None:
    await control.gateway("reconnect")
    await bot.wait_seen("resumed")
    assert len(bot.seen_of("ready")) == 1


async def test_an_invalid_session_makes_the_client_identify_anew(
    bot: SampleBot, control: Control
) -> None:
    await control.gateway("invalid_session")
    await bot.wait_seen("ready", 2)
    assert not bot.seen_of("resumed")


async def test_a_resumable_invalid_session_is_resumed(bot: SampleBot, control: Control) -> None:
    await control.gateway("invalid_session", resumable=True)
    await bot.wait_seen("resumed")
    assert len(bot.seen_of("ready")) == 1


class TestHeartbeats:
    @pytest.fixture
    def options(self) -> Options:
        return Options(port=0, heartbeat_interval=1.0)

    async def test_they_are_acknowledged(self, bot: SampleBot) -> None:
        await asyncio.sleep(2.2)
        assert bot.latency < 1
        assert not bot.seen_of("disconnect")

    async def test_a_client_leaves_a_zombie(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = SampleBot(heartbeat_timeout=1.0)
        async with running(client):
            await control.gateway("zombie")
            await client.wait_seen("resumed")

    async def test_a_silent_client_is_thrown_out(self, addresses: Addresses) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(addresses.gateway) as ws:
            await ws.receive_json()
            message = await ws.receive(timeout=PATIENCE)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == 4009


class TestToken:
    @pytest.fixture
    def options(self) -> Options:
        return Options(port=0, token="the-only-one")

    async def test_a_wrong_one_is_refused(self, addresses: Addresses) -> None:
        with pytest.raises(discord.LoginFailure):
            async with running(SampleBot(), "another"):
                pass

    async def test_the_right_one_works(self, addresses: Addresses) -> None:
        assert addresses.token == "the-only-one"
        async with running(SampleBot(), "the-only-one"):
            pass


# -- intents --------------------------------------------------------------------------------


async def test_privileged_intents_must_be_switched_on(addresses: Addresses) -> None:
    intents = discord.Intents.default()
    intents.message_content = True
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with running(SampleBot(intents)):
            pass


async def test_without_message_content_others_words_are_hidden(bot: SampleBot, ada: Person) -> None:
    assert bot.user is not None
    await ada.say("general", "a secret")
    await ada.say("general", f"hello <@{bot.user.id}>")
    await ada.say("dm", "just us")
    hidden, mentioned, direct = await bot.wait_seen("message", 3)
    assert hidden.content == ""
    assert hidden.author.name == "ada"
    assert mentioned.content.startswith("hello")
    assert direct.content == "just us"
    assert direct.guild is None


class TestPrivileged:
    @pytest.fixture
    def options(self) -> Options:
        return Options(port=0, privileged_intents=("message_content", "members"))

    async def test_with_message_content_they_are_shown(self, ada: Person) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        client = SampleBot(intents)
        async with running(client):
            await ada.say("general", "no secret")
            assert (await client.wait_seen("message"))[0].content == "no secret"

    async def test_the_members_intent_brings_members(self, control: Control, guild: str) -> None:
        intents = discord.Intents.default()
        intents.members = True
        client = SampleBot(intents)
        async with running(client):
            assert {m.name for m in client.guilds[0].members} == {"ada", "bo", "cy", "Darkroom"}
            await control.add_user("dee", guilds=[guild])
            assert (await client.wait_seen("member_join"))[0].name == "dee"


async def test_events_without_their_intent_do_not_come(control: Control, ada: Person) -> None:
    intents = discord.Intents.none()
    intents.guilds = True
    client = SampleBot(intents)
    async with running(client):
        message = await ada.say("general", "unheard")
        await ada.react(message, "👍")
        await ada.say("dm", "unheard")
        # an event that needs no intent comes after those that must not
        act = await ada.command("general", "silence")
        await client.wait_seen("interaction")
        assert not client.seen_of("message")
        assert not client.seen_of("raw_reaction_add")
        assert act.id


# -- the protocol itself --------------------------------------------------------------------


class Raw:
    """A gateway client that does what it is told."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, op: int, d: object) -> None:
        await self.ws.send_json({"op": op, "d": d})

    async def next(self) -> Any:
        return await self.ws.receive_json(timeout=PATIENCE)

    async def close_code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.ws.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    return int(message.data)


@pytest.fixture
async def raw(addresses: Addresses) -> Any:
    async with aiohttp.ClientSession() as session, session.ws_connect(addresses.gateway) as ws:
        client = Raw(ws)
        hello = await client.next()
        assert hello["op"] == 10
        assert hello["d"] == {"heartbeat_interval": 41250}
        yield client


IDENTIFY = {"token": "t", "intents": 1, "properties": {"os": "x", "browser": "x", "device": "x"}}


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (99, None, 4001),
        (3, {}, 4003),
        (2, {"token": "t"}, 4002),
        (2, IDENTIFY | {"token": ""}, 4004),
        (2, IDENTIFY | {"shard": [3, 2]}, 4010),
        (2, IDENTIFY | {"intents": 1 << 30}, 4013),
        (2, IDENTIFY | {"intents": 1 << 15}, 4014),
    ],
)
async def test_close_codes(raw: Raw, op: int, data: Any, code: int) -> None:
    await raw.send(op, data)
    assert await raw.close_code() == code


async def test_text_that_is_no_json_closes_4002(raw: Raw) -> None:
    await raw.ws.send_str("not json")
    assert await raw.close_code() == 4002


async def test_identifying_twice_closes_4005(raw: Raw) -> None:
    await raw.send(2, IDENTIFY)
    await raw.send(2, IDENTIFY)
    assert await raw.close_code() == 4005


async def test_more_than_120_sends_a_minute_close_4008(raw: Raw) -> None:
    for _ in range(121):
        await raw.send(1, None)
    assert await raw.close_code() == 4008


async def test_an_unknown_session_is_invalid(raw: Raw) -> None:
    await raw.send(6, {"token": "t", "session_id": "none", "seq": 1})
    assert await raw.next() == {"op": 9, "d": False, "s": None, "t": None}


async def test_a_sequence_from_the_future_closes_4007(raw: Raw, addresses: Addresses) -> None:
    await raw.send(2, IDENTIFY)
    session = (await raw.next())["d"]["session_id"]
    async with aiohttp.ClientSession() as http, http.ws_connect(addresses.gateway) as ws:
        second = Raw(ws)
        await second.send(6, {"token": "t", "session_id": session, "seq": 99})
        assert await second.close_code() == 4007


async def test_ready_comes_first_then_the_guilds(raw: Raw) -> None:
    await raw.send(2, IDENTIFY)
    ready, created = await raw.next(), await raw.next()
    assert (ready["t"], ready["s"], created["t"], created["s"]) == ("READY", 1, "GUILD_CREATE", 2)
    assert ready["d"]["guilds"] == [{"id": created["d"]["id"], "unavailable": True}]


async def test_the_stream_is_compressed_when_asked_for(addresses: Addresses) -> None:
    url = f"{addresses.gateway}?v=10&encoding=json&compress=zlib-stream"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
        stream = zlib.decompressobj()
        first = await ws.receive_bytes()
        assert first.endswith(b"\x00\x00\xff\xff")
        assert json.loads(stream.decompress(first))["op"] == 10
        await ws.send_json({"op": 1, "d": None})
        assert json.loads(stream.decompress(await ws.receive_bytes()))["op"] == 11


async def test_shards_get_their_own_guilds(addresses: Addresses, rest: Rest, guild: str) -> None:
    own = (int(guild) >> 22) % 2
    async with aiohttp.ClientSession() as http, http.ws_connect(addresses.gateway) as ws:
        client = Raw(ws)
        await client.next()
        await client.send(2, IDENTIFY | {"shard": [1 - own, 2]})
        ready = await client.next()
        assert ready["d"]["guilds"] == []
        assert ready["d"]["shard"] == [1 - own, 2]
