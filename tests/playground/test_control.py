"""The control protocol's own rules, the page, and the tools for tests."""

from __future__ import annotations

import aiohttp
import pytest
import yarl

from playground.control import Control, ControlError, Person
from playground.people.guard import is_loopback
from playground.server import STATIC, Addresses

from .bot import SampleBot
from .conftest import Rest


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "[::1]:1234"}, 200),
        ({"Origin": "http://127.0.0.1:8100"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_other_sites_are_kept_out(
    addresses: Addresses, headers: dict[str, str], status: int
) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/control/state?user=ada", "/control/requests"):
            async with session.get(addresses.url + path, headers=headers) as answer:
                assert answer.status == status
        upgrade = session.ws_connect(f"{addresses.url}/control/events?user=ada", headers=headers)
        if status == 403:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await upgrade
        else:
            await (await upgrade).close()


def test_loopback_names() -> None:
    assert is_loopback("127.0.0.1:80")
    assert is_loopback("127.9.9.9")
    assert is_loopback("localhost")
    assert is_loopback("[::1]")
    for other in ("", "10.0.0.1", "localhost.example", "[::2]", "[", "0.0.0.0"):
        assert not is_loopback(other), other


async def test_static_files_stay_in_their_folder(addresses: Addresses) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/nothing.js"):
            url = yarl.URL(addresses.url + path, encoded=True)
            async with session.get(url) as answer:
                assert answer.status == 404, path
        if (STATIC / "index.html").exists():
            async with session.get(addresses.url) as answer:
                assert answer.status == 200
                assert answer.headers["Cache-Control"] == "no-cache"


async def test_who_acts_must_be_a_person(control: Control, general: str, bot: SampleBot) -> None:
    for user in (None, "nobody", "Darkroom"):
        with pytest.raises(ControlError):
            await control.call(
                "POST", f"/channels/{general}/messages", {"user": user, "content": "x"}
            )


async def test_requests_are_recorded(
    bot: SampleBot, control: Control, ada: Person, rest: Rest, general: str
) -> None:
    await control.forget_requests()
    await (await ada.command("general", "draw", prompt="x")).response()
    callback, edit = await control.requests()
    assert (callback["method"], callback["json"]["type"], callback["status"]) == ("POST", 5, 200)
    assert callback["query"] == {"with_response": "1"}
    assert callback["path"].startswith("/interactions/")
    assert edit["json"]["content"] == "x 20 demo"
    assert edit["multipart"] is True
    assert [f["name"] for f in edit["files"]] == ["cat.png"]
    assert edit["files"][0]["size"] > 50
    assert await control.requests(since=callback["n"]) == [edit]


async def test_what_a_person_sees(control: Control, ada: Person, bo: Person) -> None:
    state = await bo.state()
    assert state["me"]["username"] == "bo"
    assert [c["name"] for c in state["guilds"][0]["channels"]] == [
        "general",
        "pictures",
        "after-dark",
    ]
    assert state["dms"] == []
    assert state["application"]["online"] is False
    channel = await bo.channel("dm")
    await bo.wait_for("CHANNEL_CREATE")
    [dm] = (await bo.state())["dms"]
    assert dm["id"] == channel
    assert dm["recipients"][0]["bot"] is True
    await bo.say("dm", "private")
    with pytest.raises(ControlError, match="can't see"):
        await ada.messages(channel)
    assert not [e for e in ada.events if e["t"] == "MESSAGE_CREATE"]


async def test_paging_back(control: Control, ada: Person, general: str) -> None:
    said = [await ada.say("general", str(n)) for n in range(5)]
    path = f"/channels/{general}/messages?user=ada&limit=2"
    newest = await control.call("GET", path)
    assert [m["content"] for m in newest] == ["3", "4"]
    older = await control.call("GET", f"{path}&before={said[3]['id']}")
    assert [m["content"] for m in older] == ["1", "2"]


async def test_a_reset(bot: SampleBot, control: Control, ada: Person) -> None:
    before = (await ada.state())["commands"]
    await ada.say("general", "old")
    await control.add_guild("Second")
    await control.clock(100)
    await control.reset()
    await bot.wait_seen("ready", 2)
    assert [g.name for g in bot.guilds] == ["Darkroom"]
    assert await ada.messages("general") == []
    assert [c["id"] for c in (await ada.state())["commands"]] == [c["id"] for c in before]
    assert (await (await ada.command("general", "library list")).response())["content"]
    assert (await control.call("GET", "/state"))["me"]["username"] == "ada"


async def test_avatars(addresses: Addresses, control: Control) -> None:
    status, content = await control.get(f"{addresses.url}/cdn/embed/avatars/3.png")
    assert status == 200
    assert content.startswith(b"\x89PNG")
    assert (await control.get(f"{addresses.url}/cdn/embed/avatars/6.png"))[0] == 404


async def test_a_wrong_fault_is_refused(control: Control) -> None:
    for wrong in ({}, {"path": "("}):
        with pytest.raises(ControlError):
            await control.call("POST", "/faults", wrong)
    with pytest.raises(ControlError):
        await control.gateway("explode")
    with pytest.raises(ControlError, match="forward"):
        await control.clock(-1)
