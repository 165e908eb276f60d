"""Two bots of one application, each with its shard, over one database server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bot.app import make_relay
from bot.config import Config, DiscordSettings, StorageSettings
from generation.engines.fake import FakeEngine
from generation.job import Job, JobState
from playground.control import Control
from playground.person import Person
from storage.errors import DatabaseBusyError
from tests.acceptance.conftest import Json, Rig, finished
from tests.acceptance.test_servers import say
from tests.databases import ON_SERVER
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not ON_SERVER, reason="about a database server")

COUNT = 2


def shard_of(guild: str) -> int:
    return (int(guild) >> 22) % COUNT


def of_process(config: Config, name: str, shard: int) -> Config:
    replace = msgspec.structs.replace
    discord: DiscordSettings = replace(config.discord, shard_count=COUNT, shards=(shard,))
    folder = config.storage.folder
    storage: StorageSettings = replace(
        config.storage, folder=folder / name, pictures=str(folder / "pictures"), process=name
    )
    return replace(config, discord=discord, storage=storage)


class Bot(Rig):
    """One of them, with what it tells the other."""

    relay: asyncio.Task[None]

    async def start(self) -> None:
        await super().start()
        self.relay = asyncio.create_task(make_relay(self.studio, self.client).run())

    async def stop(self) -> None:
        self.relay.cancel()
        await asyncio.gather(self.relay, return_exceptions=True)
        await super().stop()


@pytest.fixture
async def guilds(control: Control, ada: Person) -> list[str]:
    """A server of each shard."""
    found: dict[int, str] = {}
    while len(found) < COUNT:
        made = await control.add_guild("another", owner="ada")
        found.setdefault(shard_of(made["id"]), made["id"])
    return [found[shard] for shard in range(COUNT)]


@pytest.fixture
async def bots(
    rig: Rig, config: Config, control: Control, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Bot]]:
    monkeypatch.setattr("bot.relay.BEAT_EVERY", 0.3)
    monkeypatch.setattr("bot.relay.LOOK_EVERY", 0.5)
    # the fixture has pointed the client to the local Discord; these two take its place
    await rig.stop()
    async with contextlib.AsyncExitStack() as stack:
        made = [Bot(of_process(config, name, shard), control) for shard, name in enumerate("ab")]
        for bot in made:
            await bot.start()
            stack.push_async_callback(bot.stop)
        yield made
    # what the fixture stops once more
    await rig.start()


async def channel_of(person: Person, guild: str) -> str:
    state = await person.state()
    [found] = [each for each in state["guilds"] if each["id"] == guild]
    return str(next(c["id"] for c in found["channels"] if c["name"] == "general"))


async def test_each_serves_its_shard_and_draws_for_all(
    bots: list[Bot], guilds: list[str], ada: Person
) -> None:
    """Where one draws nothing, the other does, and each answers where it was asked."""
    first, second = bots
    await first.studio.workers.remove("a/main")
    channels = [await channel_of(ada, guild) for guild in guilds]
    messages: list[Json] = []
    for channel in channels:
        act = await ada.command(channel, "imagine", prompt="a red fox", seed=5)
        messages.append(await finished(ada, channel, await act.deferred()))
    assert len(second.engine.began) == 2
    assert first.engine.began == []
    for bot, number in zip(bots, (1, 2), strict=True):
        job = await bot.until(lambda job: job.delivered_at is not None, number)
        assert job.process == bot.config.storage.process
        assert job.state is JobState.FINISHED
    # one message each, and none twice
    for channel in channels:
        assert len([m for m in await ada.messages(channel) if m["attachments"]]) == 1


async def test_progress_and_cancelling_reach_the_other(
    bots: list[Bot], guilds: list[str], ada: Person
) -> None:
    first, second = bots
    await first.studio.workers.remove("a/main")
    second.engine.step_seconds = 0.3
    channel = await channel_of(ada, guilds[0])
    act = await ada.command(channel, "imagine", prompt="a red fox", steps=60)
    message = await act.deferred()
    await ada.wait_for(
        "MESSAGE_UPDATE", lambda m: m["id"] == message["id"] and "60" in m["content"]
    )
    said = (await say(ada, channel, "cancel", job=1))["content"]
    assert "cancelled" in said
    job = await first.until(lambda job: job.delivered_at is not None)
    assert job.state is JobState.CANCELLED


async def test_settings_change_everywhere(bots: list[Bot], guilds: list[str], ada: Person) -> None:
    first, second = bots
    guild = int(guilds[0])
    assert (await second.studio.store.settings.guild(guild)).waiting is None
    await first.studio.store.settings.change_guild(guild, waiting=2)
    async with asyncio.timeout(PATIENCE):
        while (await second.studio.store.settings.guild(guild)).waiting != 2:
            await asyncio.sleep(0.02)


async def test_one_that_stops_leaves_what_it_drew_for_the_other(
    bots: list[Bot], guilds: list[str], ada: Person
) -> None:
    """The other draws it anew, and whoever was asked delivers."""
    first, second = bots
    await first.studio.workers.remove("a/main")
    gate = second.engine.gate = asyncio.Event()
    channel = await channel_of(ada, guilds[0])
    message = await (await ada.command(channel, "imagine", prompt="a red fox")).deferred()
    await first.until(lambda job: job.attempts == 1)
    late = FakeEngine()
    first.studio.workers.add("late", late)
    await second.studio.workers.remove("b/main")
    gate.set()
    await finished(ada, channel, message)
    assert late.began == ["1"]
    assert len([m for m in await ada.messages(channel) if m["attachments"]]) == 1


async def test_what_one_draws_is_delivered_though_it_can_not_tell(
    bots: list[Bot], guilds: list[str], ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be killed between the last picture and the notice of it."""
    first, second = bots
    await first.studio.workers.remove("a/main")

    async def unheard(_: object) -> None:
        raise DatabaseBusyError("busy")

    monkeypatch.setattr(second.studio.store.notices, "send", unheard)
    channel = await channel_of(ada, guilds[0])
    message = await (await ada.command(channel, "imagine", prompt="a red fox")).deferred()
    await finished(ada, channel, message)
    assert len([m for m in await ada.messages(channel) if m["attachments"]]) == 1


async def test_what_a_process_leaves_that_stays_away_is_the_others(
    bots: list[Bot],
    guilds: list[str],
    ada: Person,
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is drawn meanwhile, what waits, and what it has posted without a note of it."""
    first, second = bots
    await first.studio.workers.remove("a/main")
    channel = await channel_of(ada, guilds[0])
    # their clocks jump, which is no silence
    monkeypatch.setattr("bot.relay.SILENT_FOR", timedelta(hours=1))
    gate = second.engine.gate = asyncio.Event()
    messages = []
    for prompt in ("a red fox", "a blue fox"):
        act = await ada.command(channel, "imagine", prompt=prompt)
        messages.append(await act.deferred())
    # of a token that has died nothing is left to be edited
    await control.clock(16 * 60)
    first.studio.clock.observe(datetime.now(UTC) + timedelta(minutes=16))
    second.studio.clock.observe(datetime.now(UTC) + timedelta(minutes=16))

    async def unnoted(*_: object, **__: object) -> bool:
        raise DatabaseBusyError("busy")

    monkeypatch.setattr(first.studio.jobs, "add_message", unnoted)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        while not [m for m in await ada.messages(channel) if m["attachments"]]:
            await asyncio.sleep(0.05)
    await first.stop()
    await control.forget_nonces()
    monkeypatch.setattr("bot.relay.GONE_FOR", timedelta(seconds=0))
    for number in (1, 2):
        job = await second.until(lambda job: job.delivered_at is not None, number)
        assert job.process == "b"
    shown = [m for m in await ada.messages(channel) if m["attachments"]]
    assert len(shown) == 2
    assert len({m["id"] for m in shown}) == 2
    await first.start()


async def test_one_that_was_only_asleep_does_not_deliver_what_the_others_took(
    bots: list[Bot], guilds: list[str], ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bots
    await first.studio.workers.remove("a/main")
    gate = second.engine.gate = asyncio.Event()
    channel = await channel_of(ada, guilds[0])
    await (await ada.command(channel, "imagine", prompt="a red fox")).deferred()
    await first.until(lambda job: job.state is JobState.RUNNING)
    written: list[str] = []
    for name, bot in zip("ab", bots, strict=True):
        deliver = bot.client.services.delivery._results._write_pictures

        async def noted(job: Job, message: object, name: str = name, of: Any = deliver) -> object:
            written.append(name)
            return await of(job, message)

        monkeypatch.setattr(bot.client.services.delivery._results, "_write_pictures", noted)
    assert await second.studio.store.leases.adopt(timedelta(seconds=-60)) == [1]
    await second.client.services.delivery.take_up([1])
    gate.set()
    await second.until(lambda job: job.delivered_at is not None)
    # the first hears of its end, too
    stale = msgspec.structs.replace(await first.job(1), process="a")
    first.studio.workers.tell(stale)
    await asyncio.sleep(0.5)
    assert written == ["b"]


async def test_each_shows_what_all_do(bots: list[Bot], guilds: list[str], ada: Person) -> None:
    first, second = bots
    gate = second.engine.gate = asyncio.Event()
    await first.studio.workers.remove("a/main")
    channel = await channel_of(ada, guilds[0])
    for prompt in ("a red fox", "a blue fox"):
        await (await ada.command(channel, "imagine", prompt=prompt)).deferred()
    await first.until(lambda job: job.attempts == 1)
    async with asyncio.timeout(PATIENCE):
        # until the other has said so again
        while not [one for one in first.studio.workers.others if one.status.job == 1]:
            await asyncio.sleep(0.05)
    queue = (await say(ada, channel, "queue"))["embeds"][0]["description"]
    assert "a red fox" in queue
    assert "a blue fox" in queue
    [planned] = await first.studio.workers.plan()
    assert planned.worker == "b/main"
    assert await first.studio.workers.seconds_left(1) is not None
    stats = await say(ada, channel, "stats")
    [workers] = [f["value"] for f in stats["embeds"][0]["fields"] if "b/main" in f["value"]]
    assert "demo" in workers or "—" in workers
    # all of one's own, wherever it is drawn
    assert "2" in (await say(ada, channel, "cancel"))["content"]
    gate.set()
    for number in (1, 2):
        job = await first.until(lambda job: job.delivered_at is not None, number)
        assert job.state is JobState.CANCELLED
