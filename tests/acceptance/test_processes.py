"""The bot as its owner starts it: real processes and the demo model; killed, and started again."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from playground.control import Control
from playground.person import Person
from playground.process import local_discord
from playground.server import Addresses
from tests.acceptance.conftest import Json, finished
from tests.fixtures.bot_process import PROJECT, BotProcess

CONFIG = """
[discord]
api = "{api}"
gateway = "{gateway}"
[models.demo]
sampler = "DPM++ 2M"
steps = {steps}
[worker]
cpu_threads = 1
preview_every = 0.1
stop_within = 5
"""
PATIENCE = 120
"""Seconds; importing torch on a busy machine is slow."""

pytestmark = pytest.mark.timeout(400)


class Bot(BotProcess):
    """`python -m bot run` with the demo model."""

    async def start(self, steps: int = 4) -> None:
        await self.run(CONFIG.replace("{steps}", str(steps)))

    def worker(self) -> psutil.Process:
        """The child that holds the models."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "generation.runtime" in child.cmdline())


@pytest.fixture
async def discord() -> AsyncIterator[Addresses]:
    async with local_discord() as found:
        yield found


@pytest.fixture
async def ada(discord: Addresses) -> AsyncIterator[Person]:
    async with Control(discord.url) as control:
        yield await control.person("ada")


@pytest.fixture
async def bot(discord: Addresses, tmp_path: Path) -> AsyncIterator[Bot]:
    made = Bot(discord, tmp_path)
    await made.start()
    yield made
    await made.kill()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.1)


async def online(ada: Person) -> None:
    async def there() -> bool:
        state = await ada.state()
        return bool(state["application"]["online"] and state["commands"])

    await until(there)


async def ask(ada: Person, channel: str, **options: object) -> Json:
    act = await ada.command(channel, "imagine", **{"prompt": "a cat on green", **options})
    return await act.deferred()


async def shows_a_preview(ada: Person, message: Json) -> None:
    await ada.wait_for(
        "MESSAGE_UPDATE",
        lambda update: update["id"] == message["id"] and bool(update["attachments"]),
        timeout=PATIENCE,
    )


async def pictures(ada: Person, channel: str) -> list[str]:
    """The ids of the messages that show finished pictures, one a picture."""
    return [
        message["id"]
        for message in await ada.messages(channel)
        for file in message["attachments"]
        if file["filename"].startswith("darkroom")
    ]


async def delivered(ada: Person, channel: str, message: Json, count: int = 1) -> None:
    async def there() -> bool:
        return (await pictures(ada, channel)).count(message["id"]) == count

    await until(there)


async def test_the_demo_model_draws_in_the_local_discord(bot: Bot, ada: Person) -> None:
    await online(ada)
    channel = await ada.channel("general")
    message = await ask(ada, channel, seed=7, count=2)
    await delivered(ada, channel, message, count=2)
    shown = await finished(ada, channel, await ada.message(channel, message["id"]))
    assert {file["width"] for file in shown["attachments"]} == {128}


@pytest.mark.slow
async def test_the_bot_is_killed_while_it_draws(bot: Bot, ada: Person) -> None:
    await bot.kill()
    await bot.start(steps=60)
    await online(ada)
    channel = await ada.channel("general")
    first = await ask(ada, channel, count=2)
    second = await ask(ada, channel)
    await shows_a_preview(ada, first)
    worker = bot.worker()
    await bot.kill()
    # the worker's pipe is closed: nothing is left behind that holds the GPU
    await asyncio.to_thread(psutil.wait_procs, [worker], timeout=PATIENCE)
    assert not worker.is_running()
    await bot.start(steps=60)
    await delivered(ada, channel, first, count=2)
    await delivered(ada, channel, second)
    assert len(await pictures(ada, channel)) == 3


def in_the_database(bot: Bot) -> list[tuple[str, int]]:
    """The state of each job and how often it was begun."""
    file = bot.config.parent / "data" / "darkroom.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT state, attempts FROM jobs ORDER BY id").fetchall()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_stop_while_it_draws_loses_no_try_and_leaves_nobody_behind(
    bot: Bot, ada: Person, number: signal.Signals, status: int
) -> None:
    await bot.kill()
    await bot.start(steps=60)
    await online(ada)
    channel = await ada.channel("general")
    message = await ask(ada, channel)
    await shows_a_preview(ada, message)
    worker = bot.worker()
    for process in (worker, psutil.Process(bot.process.pid)):
        process.send_signal(number)  # as a terminal or a service manager does: to all of them
    assert await asyncio.wait_for(bot.process.wait(), PATIENCE) == status
    assert not worker.is_running()
    assert in_the_database(bot) == [("queued", 0)]
    await bot.start(steps=60)
    await delivered(ada, channel, message)
    assert in_the_database(bot) == [("finished", 1)]


async def drain(bot: Bot, *flags: str) -> asyncio.subprocess.Process:
    """`darkroom drain`, begun."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(bot.config), "drain", *flags),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit status, and what it has said since."""
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.slow
async def test_one_that_is_drained_ends_what_it_has_begun(bot: Bot, ada: Person) -> None:
    await bot.kill()
    await bot.start(steps=60)
    await online(ada)
    channel = await ada.channel("general")
    first = await ask(ada, channel)
    second = await ask(ada, channel)
    await shows_a_preview(ada, first)
    worker = bot.worker()
    worker.suspend()  # so that the picture is not done before it is asked
    assert (await ended(await drain(bot, "--timeout", "0.1")))[0] == 1, "it takes longer"
    asked = await drain(bot)
    assert asked.stdout is not None
    await asyncio.wait_for(asked.stdout.readline(), PATIENCE)
    worker.resume()
    status, said = await ended(asked)
    assert (status, "It has ended" in said) == (0, True), said
    assert await asyncio.wait_for(bot.process.wait(), PATIENCE) == 0
    await delivered(ada, channel, first)
    assert in_the_database(bot) == [("finished", 1), ("queued", 0)]
    status, said = await ended(await drain(bot))
    assert (status, "No bot works with" in said) == (2, True)
    await bot.start()
    await delivered(ada, channel, second)


@pytest.mark.slow
async def test_the_worker_is_killed_while_it_draws(bot: Bot, ada: Person) -> None:
    await bot.kill()
    await bot.start(steps=60)
    await online(ada)
    channel = await ada.channel("general")
    message = await ask(ada, channel)
    await shows_a_preview(ada, message)
    bot.worker().kill()
    await delivered(ada, channel, message)
    assert bot.process.returncode is None


@pytest.mark.slow
async def test_a_second_bot_on_the_same_folder_says_why_it_does_not_start(
    bot: Bot, ada: Person
) -> None:
    await online(ada)
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(bot.config), "run"),
        cwd=PROJECT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await second.communicate()
    assert second.returncode == 2
    assert "Another Darkroom works with" in err.decode()
    assert "Traceback" not in err.decode()


async def test_a_wrong_token_is_said_in_one_sentence(tmp_path: Path) -> None:
    async with local_discord("--token", "the-right-one") as discord:
        bot = Bot(discord, tmp_path)
        addresses = {"api": discord.api, "gateway": discord.gateway}
        bot.config.write_text(CONFIG.format(steps=4, **addresses), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "--config", str(bot.config), "run"),
            cwd=PROJECT,
            env={**os.environ, "DISCORD_TOKEN": "a-wrong-one"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
    assert process.returncode == 2
    assert "Discord refuses the token" in err.decode()
    assert "Traceback" not in err.decode()


FROZEN = """
import atexit, gc, sys
atexit.register(lambda: print("frozen:", gc.get_freeze_count()))
from bot.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
async def test_it_connects_with_what_it_is_made_of_kept_out_of_collections(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    async with local_discord("--token", "the-right-one") as discord:
        addresses = {"api": discord.api, "gateway": discord.gateway}
        config.write_text(CONFIG.format(steps=4, **addresses), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FROZEN, "--config", str(config), "run"),
            cwd=PROJECT,
            env={**os.environ, "DISCORD_TOKEN": "a-wrong-one"},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    [said] = [line for line in out.decode().splitlines() if line.startswith("frozen: ")]
    assert int(said.removeprefix("frozen: ")) > 50_000


@pytest.mark.slow
async def test_the_command_line_shares_the_queue_of_a_running_bot(
    bot: Bot, ada: Person, tmp_path: Path
) -> None:
    await online(ada)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(bot.config)),
        *("imagine", "a cat", "-o", str(tmp_path / "out")),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.count(b"\n") == 1
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
