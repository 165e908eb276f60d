"""What the audit channel is told arrives, or the server's managers see why it does not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.access.caller import Caller, Person, Place
from bot.delivery import audit as audit_module
from bot.delivery.audit import Audit
from bot.features.settings import panel
from generation.refusal import Refused
from storage.errors import DatabaseBusyError
from storage.settings import GuildSettings, PersonSettings
from tests.patience import PATIENCE

GUILD = GuildSettings(audit_channel=7)
CALLER = Caller(Person(1, "ada", manager=True), Place(10, 100), GUILD, PersonSettings())


def http_error(status: int, code: int = 0) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="")
    return discord.HTTPException(response, {"code": code, "message": "no"})


class Channel:
    """Answers with these, one after the other, then takes everything."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.tries: list[str] = []
        self.posted: list[str] = []

    async def send(self, text: str, *, nonce: str) -> None:
        self.tries.append(nonce)
        if self.answers:
            raise self.answers.pop(0)
        self.posted.append(text)


def an_audit(channel: Channel) -> Audit:
    async def guild(_guild_id: int) -> GuildSettings:
        return GUILD

    client: Any = SimpleNamespace(get_partial_messageable=lambda *_a, **_k: channel)
    settings: Any = SimpleNamespace(guild=guild)
    worker: Any = SimpleNamespace(listen=lambda _listener: None)
    return Audit(client, settings, worker)


async def posted(audit: Audit) -> None:
    audit.refused(CALLER, "a *prompt*", Refused("blocked_words"))
    async with asyncio.timeout(PATIENCE):
        while len(audit._tasks):
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "RETRIES", (0.001,) * 4)


@pytest.mark.parametrize("error", [http_error(502), http_error(429), OSError("reset")])
async def test_what_may_pass_is_tried_again_and_posted_once(error: Exception) -> None:
    channel = Channel(error, error)
    audit = an_audit(channel)
    await posted(audit)
    assert len(channel.posted) == 1
    assert len(channel.tries) == 3
    assert len(set(channel.tries)) == 1, "a lost answer would post it twice"
    assert not audit.is_closed(10, 7)


@pytest.mark.parametrize(("status", "code"), [(403, 50001), (404, 10003), (403, 50013)])
async def test_managers_see_that_the_channel_is_gone_or_closed(status: int, code: int) -> None:
    channel = Channel(http_error(status, code))
    audit = an_audit(channel)
    await posted(audit)
    assert len(channel.tries) == 1
    assert audit.is_closed(10, 7)
    panels: list[Any] = [panel.shown(CALLER, audit_closed=closed) for closed in (True, False)]
    warned, plain = (str(shown.to_components()) for shown in panels)
    assert "The audit channel is gone" in warned
    assert "The audit channel is gone" not in plain
    await posted(audit)
    assert not audit.is_closed(10, 7), "it is open again"


async def test_a_stop_does_not_wait_for_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "RETRIES", (3600.0,) * 2)
    channel = Channel(*[http_error(502)] * 9)
    audit = an_audit(channel)
    audit.refused(CALLER, "a prompt", Refused("blocked_words"))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        await audit.close()
    assert len(channel.tries) == 1


async def test_lines_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "LINES_MAX", 5)
    channel = Channel()
    audit = an_audit(channel)
    for _ in range(20):
        audit.refused(CALLER, "a prompt", Refused("blocked_words"))
    await audit.close()
    assert len(channel.posted) == 5


async def test_a_database_that_is_busy_for_a_moment_costs_no_line() -> None:
    channel = Channel()
    audit = an_audit(channel)
    read, busy = audit._settings.guild, 2

    async def guild(guild_id: int | None) -> GuildSettings:
        nonlocal busy
        if busy:
            busy -= 1
            raise DatabaseBusyError("database is locked")
        return await read(guild_id)

    audit._settings.guild = guild  # type: ignore[method-assign]
    await posted(audit)
    assert (len(channel.posted), audit.lost(10)) == (1, 0)


async def test_a_line_that_can_not_be_written_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have been in the log alone."""
    audit = an_audit(Channel())

    def broken(*_args: Any) -> str:
        raise KeyError("who")

    monkeypatch.setattr(audit_module, "cut", broken)
    await posted(audit)
    assert audit.lost(10) == 1


@pytest.mark.parametrize(
    "answers", [[http_error(400, 50035)], [http_error(503)] * 4, [OSError()] * 4], ids=str
)
async def test_managers_see_that_lines_are_lost(answers: list[Exception]) -> None:
    audit = an_audit(Channel(*answers))
    await posted(audit)
    assert audit.lost(10) == 1
    panels: list[Any] = [panel.shown(CALLER, audit_lost=count) for count in (0, 1, 2)]
    shown = [str(each.to_components()) for each in panels]
    assert ["did not get into the audit channel" in each for each in shown] == [False, True, True]
    assert "2 lines" in shown[2]
