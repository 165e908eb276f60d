"""Members whose pictures are drawn on other machines, over a real NATS server: they see what they
would see otherwise, and are told where theirs waits for a machine.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from generation.job import JobState
from generation.messaging.settings import NatsSettings
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, png
from tests.acceptance.test_servers import say
from tests.fixtures.host_process import HostOptions, HostProcess
from tests.nats_server import NatsServer, running
from tests.patience import PATIENCE

AWAY_AFTER = 9.0
Hosts = Callable[..., HostProcess]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def config(config: Config, nats_server: NatsServer) -> Config:
    nats = NatsSettings(url=nats_server.url, draw_here=False, away_after=AWAY_AFTER)
    return msgspec.structs.replace(config, nats=nats)


@pytest.fixture
def host(nats_server: NatsServer, tmp_path: Path) -> Iterator[Hosts]:
    started: list[HostProcess] = []

    def start(name: str, **files: str) -> HostProcess:
        options = HostOptions(
            name=name, url=nats_server.url, away_after=AWAY_AFTER, checks=True, files=files
        )
        started.append(HostProcess(tmp_path / name, options))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.kill()


async def there(rig: Rig, *names: str) -> None:
    """Wait until these draw and no others."""
    async with asyncio.timeout(PATIENCE):
        while {worker.name for worker in rig.studio.workers.workers} != set(names):
            await asyncio.sleep(0.02)


async def ask(person: Person, channel: str, **options: object) -> Json:
    act = await person.command(channel, "imagine", **{"prompt": "a fox", "steps": 4, **options})
    return await act.deferred()


async def test_a_member_sees_what_another_machine_draws(
    rig: Rig, ada: Person, bo: Person, general: str, host: Hosts
) -> None:
    attic, cellar = host("attic", big="a large one"), host("cellar", small="a small one")
    await there(rig, "attic", "cellar")
    offered = await bo.autocomplete(general, "imagine", "model", "", prompt="a fox")
    assert {"big", "small"} <= {choice["value"] for choice in offered}
    attic.hold()
    message = await ask(bo, general, model="big", count=2)

    def previewed(update: Json) -> bool:
        names = [file["filename"] for file in update.get("attachments", [])]
        return update["id"] == message["id"] and any("preview" in name for name in names)

    await bo.wait_for("MESSAGE_UPDATE", previewed)
    said = (await say(ada, general, "queue"))["embeds"][0]["description"]
    assert "on attic" in said
    fields = {
        field["name"]: field["value"]
        for field in (await say(ada, general, "stats"))["embeds"][0]["fields"]
    }
    assert "NATS: connected to" in fields["Workers"]
    assert "**attic**: no device" in fields["Workers"]
    attic.go_on()
    shown = await finished(bo, general, message)
    assert len(shown["attachments"]) == 2
    other = await ask(ada, general, model="small")
    await finished(ada, general, other)
    assert (len(attic.began), len(cellar.began)) == (1, 1)


async def test_a_member_cancels_and_hands_in_what_another_machine_draws_from(
    rig: Rig, bo: Person, general: str, host: Hosts
) -> None:
    attic = host("attic", big="a large one")
    await there(rig, "attic")
    attic.hold()
    await ask(bo, general, model="big", steps=30)
    await rig.until(lambda job: job.attempts > 0)
    await say(bo, general, "cancel", job=1)
    attic.go_on()
    assert (await rig.until(lambda job: job.ended)).state is JobState.CANCELLED
    upload = await bo.upload("cat.png", png(size=(200, 200)))
    message = await ask(bo, general, model="big", init_picture=upload)
    await finished(bo, general, message)
    assert (await rig.job(2)).request.init_picture


async def test_a_member_is_told_which_machine_theirs_waits_for(
    rig: Rig, bo: Person, general: str, host: Hosts
) -> None:
    attic = host("attic", big="a large one")
    await there(rig, "attic")
    attic.kill()
    await there(rig)
    message = await ask(bo, general, model="big")
    async with asyncio.timeout(PATIENCE):
        while "Waiting for attic" not in (await bo.message(general, message["id"]))["content"]:
            await asyncio.sleep(0.1)
    attic.start()
    await finished(bo, general, message)


async def test_what_no_machine_has_together_is_refused(
    rig: Rig, bo: Person, general: str, host: Hosts
) -> None:
    """The demo model lies here, where nothing is drawn."""
    host("attic", big="a large one")
    await there(rig, "attic")
    act = await bo.command(general, "imagine", prompt="a fox", model="demo")
    answer = await act.response()
    assert "No machine that draws here has all of these files" in answer["content"]
