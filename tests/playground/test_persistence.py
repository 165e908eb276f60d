"""What is kept in a folder is there again after the process ended, or was killed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playground.control import Control, InteractionFailed
from playground.process import local_discord
from playground.server import Addresses, Options, serving

from .bot import png
from .conftest import Rest


@asynccontextmanager
async def using(addresses: Addresses) -> AsyncIterator[tuple[Rest, Control]]:
    async with aiohttp.ClientSession() as session, Control(addresses.url) as control:
        yield Rest(addresses, session), control


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    async with local_discord(data=tmp_path) as first, using(first) as (rest, control):
        await _live(rest, control)
        before = await _look(rest, control)
        act = await (await control.person("ada")).command("general", "go")
        callback = f"/interactions/{act.id}/{act.token}/callback"
        await rest.call("POST", callback, {"type": 5})
    async with local_discord(data=tmp_path) as second, using(second) as (rest, control):
        assert (second.token, second.application_id) == (first.token, first.application_id)
        hook = f"/webhooks/{second.application_id}/{act.token}/messages/@original"
        edited = await rest.call("PATCH", hook, {"content": "after the restart"})
        assert edited.body["content"] == "after the restart"
        await rest.call("DELETE", hook)
        after = await _look(rest, control)
        link = after["messages"][0]["attachments"][0]["url"]
        assert await control.get(link) == (200, png())
        fresh = (
            await rest.call("POST", f"/channels/{after['dm']}/messages", {"content": "x"})
        ).body
        assert int(fresh["id"]) > int(act.id)
    assert _without_links(after) == _without_links(before)


def _without_links(what: object) -> object:
    """The port is another one, and links are signed by the hour."""
    return json.loads(re.sub(r'"http://127[^"]*"', '"link"', json.dumps(what)))


async def _live(rest: Rest, control: Control) -> None:
    """A little of everything."""
    application = rest.addresses.application_id
    body = [{"name": "go", "description": "x"}]
    await rest.call("PUT", f"/applications/{application}/commands", body)
    ada = await control.person("ada")
    guild = (await ada.state())["guilds"][0]["id"]
    role = await control.add_role(guild, "Painter", 1 << 13)
    await control.add_user("dee", locale="ja", roles=[role["id"]])
    await control.overwrite(await ada.channel("pictures"), "dee", deny=1 << 11)
    await control.change_guild(guild, premium_tier=2)
    message = await ada.say_with_file("general", "a.png", png(), "look")
    await ada.react(message, "👍")
    channel = message["channel_id"]
    reply = {"content": "nice", "message_reference": {"message_id": message["id"]}, "nonce": "n"}
    await rest.call("POST", f"/channels/{channel}/messages", reply)
    await ada.say("dm", "hello")
    await ada.begin_thread("general", "about it", message=message)
    secret = await ada.begin_thread("general", "secret", private=True)
    await ada.let_in(secret["id"], "bo")
    forum = await control.add_channel(guild, "showcase", forum=True, tags=["wip"])
    tag = forum["available_tags"][0]["id"]
    await ada.post("showcase", "My fox", "look", tags=[tag])
    await ada.say("dm:bo", "between us")
    await ada.install_app()


async def _look(rest: Rest, control: Control) -> dict[str, Any]:
    ada = await control.person("ada")
    state = await ada.state()
    del state["application"]["online"]
    dm = state["dms"][0]
    guild = state["guilds"][0]
    for channel in (*state["dms"], *guild["channels"], *guild["threads"]):
        channel.pop("last_message_id")
    return {"state": state, "messages": await ada.messages("general"), "dm": dm["id"]}


async def test_a_nonce_is_remembered_over_a_kill(tmp_path: Path) -> None:
    body = {"content": "once", "nonce": "job-9", "enforce_nonce": True}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "playground", "--port", "0", "--data", str(tmp_path),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    addresses = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bot t"}
        async with Control(addresses["url"]) as control:
            general = await (await control.person("ada")).channel("general")
        url = f"{addresses['api']}/v10/channels/{general}/messages"
        async with session.post(url, json=body, headers=headers) as answer:
            first = await answer.json()
    process.kill()
    await process.wait()
    async with serving(Options(port=0, data=tmp_path)) as again, using(again) as (rest, _):
        second = await rest.call("POST", f"/channels/{general}/messages", body)
    assert second.body["id"] == first["id"]


@pytest.mark.slow
async def test_the_three_seconds_go_on_after_a_restart(tmp_path: Path) -> None:
    options = Options(port=0, data=tmp_path)
    async with serving(options) as first, using(first) as (rest, control):
        body = [{"name": "go", "description": "x"}]
        await rest.call("PUT", f"/applications/{first.application_id}/commands", body)
        ada = await control.person("ada")
        act = await ada.command("general", "go")
    async with serving(options) as second, Control(second.url) as control:
        act.person = await control.person("ada")
        act._since = 0
        with pytest.raises(InteractionFailed):
            await act.response()


@pytest.mark.slow
async def test_a_folder_serves_one_process(tmp_path: Path) -> None:
    async with local_discord(data=tmp_path):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "playground", "--port", "0", "--data", str(tmp_path),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        said, complaint = await asyncio.wait_for(process.communicate(), 20)
    assert said == b""
    assert process.returncode == 1
    assert b"database is locked" in complaint


async def test_without_a_folder_nothing_is_kept() -> None:
    async with serving(Options(port=0)) as first, Control(first.url) as control:
        await (await control.person("ada")).say("general", "x")
    async with serving(Options(port=0)) as second, Control(second.url) as control:
        assert await (await control.person("ada")).messages("general") == []
