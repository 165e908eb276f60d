"""What goes wrong at Discord, on demand, and how much of it a client brought upon itself."""

from __future__ import annotations

import asyncio
import errno
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest

from playground.control import Control, ControlError, Person
from playground.server import Addresses, Options, serving
from playground.snowflake import Snowflakes, unix_time

from .bot import SampleBot, picture
from .conftest import Rest, running
from .test_messages import channel_of

ROUTES = [
    ("GET", "/users/@me"),
    ("GET", "/gateway"),
    ("GET", "/gateway/bot"),
    ("GET", "/oauth2/applications/@me"),
    ("PUT", "/applications/1/commands"),
    ("POST", "/channels/1/messages"),
    ("PATCH", "/channels/1/messages/2"),
    ("PUT", "/channels/1/messages/2/reactions/%F0%9F%91%8D/@me"),
    ("POST", "/interactions/1/token/callback"),
    ("PATCH", "/webhooks/1/token/messages/@original"),
]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_cloudflare_answers_any_route(rest: Rest, control: Control, status: int) -> None:
    for method, path in ROUTES:
        await control.fault(path.partition("%")[0], method=method, status=status, cloudflare=True)
        answer = await rest.call(method, path)
        assert answer.status == status, path
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "Via" not in answer.headers
        assert "Retry-After" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("X-RateLimit")]
        assert "<html>" in answer.body


async def test_retry_after_where_it_is_told(rest: Rest, control: Control) -> None:
    await control.fault("/users/@me", status=429, cloudflare=True, retry_after=7)
    await control.fault("/users/@me", status=503, retry_after=1.5)
    assert (await rest.call("GET", "/users/@me")).headers["Retry-After"] == "7"
    answer = await rest.call("GET", "/users/@me")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Via"]


@pytest.mark.parametrize(
    ("code", "status"), [(50035, 400), (240000, 400), (10008, 404), (40005, 413), (50001, 403)]
)
async def test_refusals_for_good(bot: SampleBot, control: Control, code: int, status: int) -> None:
    await control.fault("/messages$", method="POST", code=code)
    with pytest.raises(discord.HTTPException) as refusal:
        await channel_of(bot).send("x")
    assert (refusal.value.status, refusal.value.code) == (status, code)
    assert refusal.value.text
    if code == 50035:
        assert "In content: Must be 2000 or fewer" in refusal.value.text


async def test_only_requests_with_files(bot: SampleBot, control: Control, ada: Person) -> None:
    await control.fault("/messages$", code=40005, files=True, times=2)
    channel = channel_of(bot)
    await channel.send("text")
    for _ in range(2):
        with pytest.raises(discord.HTTPException) as refusal:
            await channel.send(file=picture())
        assert refusal.value.status == 413
    await channel.send(file=picture())
    assert len(await ada.messages("general")) == 2


async def test_some_pass_first_and_a_fault_ends(rest: Rest, control: Control) -> None:
    await control.fault("/users/@me", status=502, skip=1, times=2)
    statuses = [(await rest.call("GET", "/users/@me")).status for _ in range(4)]
    assert statuses == [200, 502, 502, 200]
    await control.fault("/users/@me", status=502, seconds=0.3)
    assert {(await rest.call("GET", "/users/@me")).status for _ in range(3)} == {502}
    await asyncio.sleep(0.35)
    assert (await rest.call("GET", "/users/@me")).status == 200


@pytest.mark.parametrize("after", [False, True])
async def test_a_reset_connection(
    rest: Rest, control: Control, ada: Person, general: str, after: bool
) -> None:
    await control.fault("/messages$", method="POST", reset=True, after=after, delay=0.01)
    with pytest.raises(aiohttp.ClientOSError) as reset:
        await rest.call("POST", f"/channels/{general}/messages", {"content": "x"})
    assert reset.value.errno in (errno.ECONNRESET, 10054)
    assert len(await ada.messages("general")) == after
    assert [r["status"] for r in await control.requests()] == [499]


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "x", "stats": 502},
        {"path": "x", "status": 200},
        {"path": "x", "times": 0},
        {"path": 5},
        {"status": 502},
    ],
)
async def test_what_is_no_fault(control: Control, wrong: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        await control.call("POST", "/faults", wrong)


# -- how a client kept to the limits ----------------------------------------------------------


async def test_what_came_too_early_is_counted(rest: Rest, control: Control, general: str) -> None:
    path = f"/channels/{general}/messages"
    await control.fault("/messages$", method="POST", status=429, retry_after=0.4)
    await rest.call("POST", path, {"content": "x"})
    await asyncio.sleep(0.1)
    await rest.call("POST", path, {"content": "too early"})
    await rest.call("GET", "/users/@me")
    report = await control.rate_limits()
    assert (report["refused"], report["early"]) == (1, 1)
    route = "/channels/{channel}/messages"
    assert report["refusals"] == [
        {"method": "POST", "route": route, "scope": "user", "retry_after": 0.4}
    ]
    [early] = report["early_requests"]
    assert (early["method"], early["route"]) == ("POST", route)
    assert 0 < early["early_by"] <= 0.3
    await asyncio.sleep(0.35)
    await rest.call("POST", path, {"content": "in time"})
    assert (await control.rate_limits())["early"] == 1
    await control.call("DELETE", "/limits")
    assert (await control.rate_limits())["refused"] == 0


async def test_a_global_429_is_for_everything(rest: Rest, control: Control) -> None:
    how: dict[str, Any] = {"status": 429, "retry_after": 5, "global": True}
    await control.fault("/gateway$", **how)
    await rest.call("GET", "/gateway")
    await asyncio.sleep(0.06)
    await rest.call("GET", "/users/@me")
    report = await control.rate_limits()
    assert report["refusals"][0]["scope"] == "global"
    assert [e["route"] for e in report["early_requests"]] == ["/users/@me"]


async def test_discord_py_comes_in_time(bot: SampleBot, control: Control) -> None:
    await control.fault("/messages$", method="POST", status=429, retry_after=0.2)
    for n in range(2):
        await channel_of(bot).send(str(n))
    report = await control.rate_limits()
    assert (report["refused"], report["early"]) == (1, 0)


# -- the gateway ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [4004, 4014, 4013])
async def test_a_close_code_that_ends_the_client(control: Control, code: int) -> None:
    bot = SampleBot()
    running_bot = asyncio.create_task(bot.start("a-token"))
    await bot.wait_seen("ready")
    await control.gateway("close", code=code)
    with pytest.raises((discord.ConnectionClosed, discord.PrivilegedIntentsRequired)) as ended:
        await running_bot
    await bot.close()
    if isinstance(ended.value, discord.ConnectionClosed):
        assert ended.value.code == code


@pytest.mark.parametrize("code", [4000, 1006, 1001])
async def test_a_close_code_after_which_the_client_resumes(
    bot: SampleBot, control: Control, code: int
) -> None:
    await control.gateway("close", code=code)
    await bot.wait_seen("resumed")


async def test_an_identify_is_refused(addresses: Addresses, control: Control) -> None:
    await control.gateway("refuse_identify", code=4014, times=1)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with running(SampleBot()):
            pass
    async with running(SampleBot()):
        pass


@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 429, "cloudflare": True}])
async def test_the_socket_is_refused(
    addresses: Addresses, control: Control, fault: dict[str, Any]
) -> None:
    await control.fault(socket=True, **fault)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(addresses.gateway)
        assert refused.value.status == fault["status"]
        async with session.ws_connect(addresses.gateway) as socket:
            assert (await socket.receive_json())["op"] == 10


@pytest.mark.parametrize("rest_too", [True, False])
async def test_an_outage(
    bot: SampleBot, addresses: Addresses, control: Control, rest: Rest, rest_too: bool
) -> None:
    await control.outage(0.6, rest=rest_too)
    began = time.monotonic()
    await bot.wait_seen("disconnect")
    assert (await rest.call("GET", "/users/@me")).status == (503 if rest_too else 200)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(addresses.gateway)
        await asyncio.sleep(max(0.0, 0.65 - (time.monotonic() - began)))
        async with session.ws_connect(addresses.gateway):
            pass
    assert (await rest.call("GET", "/users/@me")).status == 200


async def test_events_come_twice(bot: SampleBot, control: Control, ada: Person) -> None:
    await control.gateway("twice", event="INTERACTION_CREATE")
    await control.gateway("twice", event="MESSAGE_REACTION_ADD")
    act = await ada.command("general", "whisper")
    await act.response()
    one, other = await bot.wait_seen("interaction", 2)
    assert one.id == other.id == int(act.id)
    message = await channel_of(bot).send("x")
    await ada.react(await ada.message("general", str(message.id)), "👍")
    first, again = await bot.wait_seen("raw_reaction_add", 2)
    assert (first.user_id, first.message_id) == (again.user_id, again.message_id)
    await control.gateway("repeat", event="MESSAGE_REACTION_ADD")
    await bot.wait_seen("raw_reaction_add", 3)
    with pytest.raises(ControlError, match="no GUILD_BAN_ADD"):
        await control.gateway("repeat", event="GUILD_BAN_ADD")


@pytest.mark.parametrize(
    "wrong",
    [
        {"do": "close"},
        {"do": "close", "code": 99},
        {"do": "twice"},
        {"do": "refuse_identify", "code": 4004, "times": 0},
    ],
)
async def test_a_wrong_disturbance_is_refused(control: Control, wrong: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        await control.call("POST", "/gateway", wrong)


# -- nonces and the clock ---------------------------------------------------------------------


async def test_nonces_are_forgotten(rest: Rest, control: Control, general: str) -> None:
    path = f"/channels/{general}/messages"
    body = {"content": "x", "nonce": "n", "enforce_nonce": True}

    async def sent() -> str:
        return str((await rest.call("POST", path, body)).body["id"])

    first = await sent()
    assert await sent() == first
    await control.forget_nonces()
    second = await sent()
    assert second != first
    assert await sent() == second
    await control.limits(enabled=False)
    await control.forget_nonces(lifetime=10)
    third = await sent()
    await control.clock(9)
    assert await sent() == third
    await control.clock(2)
    assert await sent() != third


@pytest.mark.parametrize("hours", [-5, 7])
async def test_discord_has_another_time_of_day(
    rest: Rest, control: Control, ada: Person, general: str, bot: SampleBot, hours: int
) -> None:
    await control.skew(hours * 3600)
    expected = datetime.now(UTC) + timedelta(hours=hours)

    def is_near(moment: datetime) -> bool:
        return abs((moment - expected).total_seconds()) < 30

    answer = await rest.call("POST", f"/channels/{general}/messages", {"content": "x"})
    assert is_near(parsedate_to_datetime(answer.headers["Date"]))
    assert is_near(datetime.fromtimestamp(unix_time(answer.body["id"]), UTC))
    assert is_near(datetime.fromisoformat(answer.body["timestamp"]))
    assert is_near(datetime.fromtimestamp(float(answer.headers["X-RateLimit-Reset"]), UTC))
    # what ends goes by durations: the interaction is young, whatever the clock says
    act = await ada.command("general", "draw", prompt="x")
    message = await act.response()
    assert is_near(datetime.fromtimestamp(unix_time(act.id), UTC))
    link = message["attachments"][0]["url"]
    assert (await control.get(link))[0] == 200
    await control.clock(15 * 60)
    hook = f"/webhooks/{rest.addresses.application_id}/{act.token}/messages/@original"
    assert (await rest.call("PATCH", hook, {"content": "late"})).status == 401


async def test_ids_never_come_twice(tmp_path: Path) -> None:
    options = Options(port=0, data=tmp_path, clock_skew=-3600.0)
    async with serving(options) as addresses, Control(addresses.url) as control:
        ada = await control.person("ada")
        first = await ada.say("general", "1")
        assert unix_time(first["id"]) < time.time() - 3000
        await control.skew(3600)
        later = await ada.say("general", "2")
        await control.skew(-3600)
        third = await ada.say("general", "3")
    again = Options(port=0, data=tmp_path)
    async with serving(again) as addresses, Control(addresses.url) as control:
        fourth = await (await control.person("ada")).say("general", "4")
    still = Snowflakes(lambda: 1_800_000_000.0)
    made = {still.next() for _ in range(3)}
    still.restart()
    assert not made & {still.next() for _ in range(3)}
    ids = [message["id"] for message in (first, later, third, fourth)]
    assert len(set(ids)) == 4
    assert unix_time(fourth["id"]) < time.time() - 3000
