"""What an ordinary discord.py bot sends is what Discord's OpenAPI document describes."""

from __future__ import annotations

import re
from typing import Any

import discord
import pytest

from playground.control import Control, Person
from tests.openapi import needs_openapi, openapi

from .bot import SampleBot, picture
from .conftest import Rest
from .test_messages import channel_of

pytestmark = needs_openapi

HOOK = "/webhooks/1/token/messages/@original"


def wrong(method: str, path: str, json: Any = None) -> list[str]:
    return openapi().violations([{"method": method, "path": path, "json": json}])


async def test_discord_py_keeps_to_it(bot: SampleBot, control: Control, ada: Person) -> None:
    message = await (await ada.command("general", "buttons")).response()
    await (await ada.click(message, "Count")).wait_for("INTERACTION_SUCCESS")
    await (await ada.command("general", "draw", prompt="x")).response()
    await ada.autocomplete("general", "draw", "model", "d", prompt="x")
    form = await ada.command("general", "feedback")
    await (await form.submit(text="fine")).response()
    embed = discord.Embed(title="x").add_field(name="a", value="b")
    sent = await channel_of(bot).send("x", embed=embed, file=picture(), nonce="n")
    await sent.edit(attachments=[])
    await sent.add_reaction("👍")
    await sent.reply("y")
    await sent.delete()
    requests = await control.requests()
    assert len(requests) > 12
    assert openapi().violations(requests) == []


async def test_answers_are_as_described(
    bot: SampleBot, control: Control, ada: Person, rest: Rest, guild: str
) -> None:
    thread = await ada.begin_thread("general", "sketches", message=await ada.say("general", "x"))
    private = await ada.begin_thread("general", "secret", private=True)
    await ada.let_in(private["id"], "Darkroom")
    forum = await control.add_channel(guild, "showcase", forum=True, tags=["wip"])
    post = await ada.post("showcase", "My fox", "look", tags=[forum["available_tags"][0]["id"]])
    message = await (await ada.command("general", "buttons")).response()
    dm, me = await ada.channel("dm"), (await ada.state())["me"]["id"]
    place = f"/channels/{message['channel_id']}"
    shapes = {
        "ThreadResponse": [f"/channels/{t['id']}" for t in (thread, private, post)],
        "GuildChannelResponse": [place, f"/channels/{forum['id']}"],
        "PrivateChannelResponse": [f"/channels/{dm}"],
        "ThreadMemberResponse": [f"/channels/{thread['id']}/thread-members/{me}"],
        "ThreadsResponse": [
            f"/guilds/{guild}/threads/active",
            f"{place}/threads/archived/public",
        ],
        "MessageResponse": [
            f"{place}/messages/{message['id']}",
            f"{place}/messages/{thread['id']}",
        ],
    }
    for schema, paths in shapes.items():
        for path in paths:
            answer = await rest.call("GET", path)
            assert answer.status == 200, path
            assert openapi().misshapen(schema, answer.body) == [], path


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("POST", "/channels/1/messages", {"content": "x" * 4000, "nonce": "n" * 25}),
        ("POST", "/channels/1/messages", {"attachments": [{"id": 0, "filename": "x.png"}]}),
        ("PATCH", HOOK, {"content": None, "embeds": [{"title": "x"}]}),
        ("POST", "/interactions/1/token/callback", {"type": 5, "data": {"flags": 64}}),
        ("PUT", "/channels/1/messages/2/reactions/👍/@me", None),
        ("DELETE", "/channels/1/messages/2", None),
    ],
)
def test_right_requests(method: str, path: str, json: Any) -> None:
    assert wrong(method, path, json) == []


@pytest.mark.parametrize(
    ("method", "path", "json", "complaint"),
    [
        ("GET", "/nowhere", None, "no such path"),
        ("PUT", "/channels/1/messages", {}, "has no PUT"),
        ("DELETE", "/channels/1/messages/2", {"x": 1}, "takes no body"),
        ("POST", "/channels/1/messages", None, "body is missing"),
        ("POST", "/channels/1/messages", {"content": 5}, "content: 5 is not of type"),
        ("POST", "/channels/1/messages", {"nonce": "n" * 26}, "nonce: .* is too long"),
        (
            "POST",
            "/channels/1/messages",
            {"embeds": [{"fields": [{"name": "x"}]}]},
            r"embeds\.0\.fields\.0: 'value' is a required property",
        ),
        (
            "PATCH",
            HOOK,
            {"components": [{"type": 1, "components": [{"type": 2, "style": 9}]}]},
            r"components\.0\.components\.0\.style: 9 is none of",
        ),
        (
            "POST",
            "/interactions/1/token/callback",
            {"type": 9, "data": {"title": "x" * 46, "custom_id": "m", "components": []}},
            r"data\.title: .* is too long",
        ),
        (
            "PUT",
            "/applications/1/commands",
            [{"name": "x", "description": "y", "options": [{"type": 3, "name": "z"}]}],
            r"0\.options\.0: 'description' is a required property",
        ),
    ],
)
def test_wrong_requests(method: str, path: str, json: Any, complaint: str) -> None:
    found = wrong(method, path, json)
    assert any(re.search(complaint, line, re.DOTALL) for line in found), found
