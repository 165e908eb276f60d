"""Rate limits and faults, as a client meets them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import discord
import pytest

from playground.control import Control, Person

from .bot import SampleBot
from .conftest import Rest
from .test_messages import channel_of


async def test_a_bucket_and_its_headers(rest: Rest, general: str, ada: Person) -> None:
    pictures = await ada.channel("pictures")
    for n in range(5):
        answer = await rest.call("POST", f"/channels/{general}/messages", {"content": str(n)})
        assert answer.status == 200
        assert answer.headers["X-RateLimit-Limit"] == "5"
        assert answer.headers["X-RateLimit-Remaining"] == str(4 - n)
        assert 0 < float(answer.headers["X-RateLimit-Reset-After"]) <= 5
        assert float(answer.headers["X-RateLimit-Reset"]) > time.time()
        assert answer.headers["X-RateLimit-Bucket"]
    limited = await rest.call("POST", f"/channels/{general}/messages", {"content": "6"})
    assert limited.status == 429
    assert limited.body["message"] == "You are being rate limited."
    assert limited.body["global"] is False
    assert 0 < limited.body["retry_after"] <= 5
    assert int(limited.headers["Retry-After"]) >= 1
    assert limited.headers["X-RateLimit-Scope"] == "user"
    # another channel has its own bucket
    other = await rest.call("POST", f"/channels/{pictures}/messages", {"content": "x"})
    assert other.status == 200
    assert len(await ada.messages("general")) == 5


async def test_the_global_limit_and_what_is_exempt(rest: Rest, guild: str, ada: Person) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    body = [{"name": "go", "description": "x"}]
    await rest.call("PUT", f"/applications/{application}/commands", body)
    act = await ada.command("general", "go")
    paths = [f"/users/{n}" for n in range(70)]
    answers = await asyncio.gather(*(rest.call("GET", f"{p}?x") for p in paths))
    limited = [a for a in answers if a.status == 429 and a.body["global"]]
    assert limited
    assert limited[0].headers["X-RateLimit-Scope"] == "global"
    assert limited[0].headers["X-RateLimit-Global"] == "true"
    callback = f"/interactions/{act.id}/{act.token}/callback"
    answered = await rest.call("POST", callback, {"type": 4, "data": {"content": "x"}})
    assert answered.status == 204


async def test_reactions_take_a_quarter_of_a_second(bot: SampleBot, control: Control) -> None:
    message = await channel_of(bot).send("x")
    await control.forget_requests()
    began = time.monotonic()
    for emoji in "👍👎🔁":
        await message.add_reaction(emoji)
    assert time.monotonic() - began >= 0.5
    # discord.py knew from the headers when to wait: nothing was refused
    assert [r["status"] for r in await control.requests()] == [204, 204, 204]


async def test_discord_py_waits_out_a_429(bot: SampleBot, control: Control, ada: Person) -> None:
    await control.fault("/messages$", method="POST", status=429, retry_after=0.3)
    began = time.monotonic()
    await channel_of(bot).send("patient")
    assert time.monotonic() - began >= 0.3
    sent = [r["status"] for r in await control.requests() if r["path"].endswith("/messages")]
    assert sent == [429, 200]
    assert len(await ada.messages("general")) == 1


async def test_a_global_429_holds_everything_back(bot: SampleBot, control: Control) -> None:
    how: dict[str, Any] = {"status": 429, "retry_after": 0.6, "global": True}
    await control.fault("/typing$", **how)
    began = time.monotonic()
    limited = asyncio.ensure_future(bot.http.send_typing(channel_of(bot).id))
    await asyncio.sleep(0.2)
    # another route, which nothing but the global limit holds back
    await channel_of(bot).send("x")
    assert time.monotonic() - began >= 0.6
    await limited


async def test_discord_py_waits_out_a_429_of_an_interaction(
    bot: SampleBot, control: Control, ada: Person
) -> None:
    await control.fault("/webhooks/", method="PATCH", status=429, retry_after=0.2)
    message = await (await ada.command("general", "draw", prompt="x")).response()
    assert message["content"].startswith("x")


async def test_discord_py_retries_a_500(bot: SampleBot, control: Control, ada: Person) -> None:
    await control.fault("/messages$", method="POST", status=502)
    await channel_of(bot).send("again")
    assert [m["content"] for m in await ada.messages("general")] == ["again"]


async def test_other_faults(bot: SampleBot, control: Control, rest: Rest) -> None:
    await control.fault("/messages$", status=403, code=50013, times=2)
    for _ in range(2):
        with pytest.raises(discord.Forbidden) as refusal:
            await channel_of(bot).send("x")
        assert refusal.value.code == 50013
    await channel_of(bot).send("x")
    await control.fault("/users/@me", body={"odd": 1}, status=418)
    await control.fault("/users/@me", body="<html>", status=503)
    await control.clear_faults()
    assert (await rest.call("GET", "/users/@me")).status == 200


async def test_a_dropped_request_does_nothing(
    bot: SampleBot, control: Control, ada: Person
) -> None:
    await control.fault("/messages$", method="POST", drop=True)
    with pytest.raises(aiohttp.ClientError):
        await channel_of(bot).send("lost")
    assert await ada.messages("general") == []
