"""Logging in, registering commands and coming back, whatever Discord answers meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta

import discord
import msgspec
import pytest
from structlog.testing import capture_logs

from bot import client as client_module
from bot import connection
from bot.connection import RefusedError
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITS", (0.05,))
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(connection, "STUCK_AFTER", 0.2)
    monkeypatch.setattr(client_module, "REGISTER_WAITS", (0.05,))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "cloudflare": True, "retry_after": 0.1},
        {"status": 429, "cloudflare": True},
        {"reset": True},
        {"drop": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/users/@me$", "/gateway$", "/oauth2/applications/@me$"])
async def test_a_login_is_tried_until_discord_lets_it(
    rig: Rig, ada: Person, general: str, path: str, fault: dict[str, object]
) -> None:
    await rig.stop()
    await rig.control.fault(path, times=2, **fault)
    await rig.start()
    await imagine(ada, general)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "cloudflare": True},
        {"status": 429, "cloudflare": True, "retry_after": 0.1},
        {"reset": True},
    ],
    ids=str,
)
async def test_commands_are_registered_later_without_a_restart(
    rig: Rig, ada: Person, general: str, fault: dict[str, object]
) -> None:
    await rig.stop()
    (rig.config.storage.folder / "cache" / "commands.sha256").unlink()
    await rig.control.fault("/commands$", times=3, **fault)
    await rig.control.forget_requests()
    await rig.start()
    puts = [r for r in await rig.control.requests() if r["path"].endswith("/commands")]
    assert [r["status"] for r in puts][-1] == 200
    assert len(puts) == 4
    await imagine(ada, general)


@pytest.mark.parametrize("fault", [{"status": 403, "code": 50001}, {"status": 404, "code": 10004}])
async def test_a_server_that_was_left_keeps_no_other_from_its_commands(
    rig: Rig, ada: Person, general: str, fault: dict[str, object]
) -> None:
    await rig.stop()
    await rig.control.fault("/guilds/77/commands", times=1000, **fault)
    [guild] = (await ada.state())["guilds"]
    told = msgspec.structs.replace(rig.config.discord, guilds=(77, int(guild["id"])), welcome=True)
    rig.config = msgspec.structs.replace(rig.config, discord=told)
    (rig.config.storage.folder / "cache" / "commands.sha256").unlink(missing_ok=True)

    async def tries(guild_id: object, status: int) -> int:
        return sum(
            request["path"].endswith(f"/guilds/{guild_id}/commands") and request["status"] == status
            for request in await rig.control.requests()
        )

    with capture_logs() as logged:
        await rig.start()
        # it waits for the commands
        await ada.wait_for("MESSAGE_CREATE", lambda message: "Hello!" in message["content"])
        async with asyncio.timeout(PATIENCE):
            while (
                not await tries(guild["id"], 200) or await tries(77, int(str(fault["status"]))) < 3
            ):
                await asyncio.sleep(0.02)
    assert [line["server"] for line in logged if "not registered" in line["event"]] == [77]


@pytest.mark.parametrize("code", [4004, 4014])
async def test_the_gateway_refuses_for_good(rig: Rig, code: int) -> None:
    await rig.control.gateway("close", code=code)
    with pytest.raises(RefusedError) as refused:
        await asyncio.wait_for(rig.connection, PATIENCE)
    assert ("token" if code == 4004 else "intents") in str(refused.value)
    await rig.stop()
    await rig.control.gateway("refuse_identify", code=code, times=1)
    with pytest.raises(RefusedError):
        await rig.start()
    await rig.stop()
    await rig.start()


async def test_after_an_outage_the_bot_is_back_though_the_library_sleeps(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord.backoff.ExponentialBackoff, "delay", lambda _self: 1000.0)
    await rig.control.outage()
    async with asyncio.timeout(PATIENCE):
        while rig.client.online:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert not rig.client.online
    await rig.control.clear_faults()
    async with asyncio.timeout(PATIENCE):
        while not rig.client.online:
            await asyncio.sleep(0.01)
    await imagine(ada, general)


@pytest.mark.parametrize("hours", [-7, 9])
async def test_the_machine_s_clock_is_hours_off(
    rig: Rig, ada: Person, general: str, hours: int
) -> None:
    """Answers still go to their replies, before and after a restart."""
    await rig.stop()
    await rig.control.skew(hours * 3600)
    await rig.start()
    message = await imagine(ada, general, private=True)
    assert message["flags"] & 64
    await delivered(rig, 1)
    # what is dated, limits among it, is dated by Discord
    apart = (await rig.job(1)).created_at - datetime.now(UTC)
    assert abs(apart - timedelta(hours=hours)) < timedelta(minutes=5)
    await rig.restart()
    rig.engine.gate = asyncio.Event()
    act = await ada.command(general, "imagine", prompt="a tower", private=True)
    second = await act.deferred()
    await rig.until(lambda job: job.started_at is not None, 2)
    await rig.restart()
    await delivered(rig, 2)
    shown = await ada.message(general, second["id"])
    assert [file["filename"] for file in shown["attachments"]] == ["darkroom-2-1.png"]


async def test_a_client_that_ends_leaves_nothing_behind(rig: Rig) -> None:
    await rig.stop()
    before = asyncio.all_tasks()
    await rig.start()
    await rig.stop()
    await asyncio.sleep(0.1)
    assert {task.get_name() for task in asyncio.all_tasks() - before} == set()
    await rig.start()
