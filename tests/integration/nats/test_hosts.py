"""Workers on other hosts, over a real NATS server: what they draw, and what becomes of what they
had in hand when something goes.
"""

import asyncio
import contextlib
import hashlib
import io
import shutil
import sys
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation.fleet import hosts as fleet_hosts
from generation.hosting import host
from generation.job import JobState
from generation.messages import Generate, Preview, Progress, encode
from generation.messaging import wire
from tests.fixtures.host_process import FilesCatalog
from tests.fixtures.requests import a_request
from tests.integration.nats.conftest import AWAY_AFTER, Stage
from tests.patience import PATIENCE


async def _objects(stage: Stage) -> list[Any]:
    """What lies in the object store of pictures."""
    from nats.js.errors import NotFoundError

    connection = stage.fleet._exchange.connection
    assert connection is not None
    there = []
    for name in await connection.picture_names():
        with contextlib.suppress(NotFoundError):
            there.append(await connection.pictures.get_info(name))
    return there


async def _left_nothing(stage: Stage) -> None:
    """Wait until no order and no picture is on the server any more."""
    connection = stage.fleet._exchange.connection
    assert connection is not None
    async with asyncio.timeout(PATIENCE):
        while await _objects(stage):
            await asyncio.sleep(0.1)
        while (await connection.stream.stream_info("darkroom_jobs")).state.messages:
            await asyncio.sleep(0.1)


async def test_a_host_draws_and_is_heard_while_it_does(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic")
    await stage.there("attic")
    number = await stage.ask(count=2)
    job = await stage.finished(number)
    assert len(job.pictures) == 2
    assert job.provenance is not None
    assert job.provenance.worker == "attic"
    assert len(engine.began) == 1
    events = [event for id_, event in stage.heard if id_ == number]
    assert any(isinstance(event, Progress) and event.stage == "denoising" for event in events)
    assert any(isinstance(event, Preview) for event in events)
    await _left_nothing(stage)


async def test_an_upload_goes_to_the_host(stage: Stage) -> None:
    file = io.BytesIO()
    Image.effect_noise((300, 300), 90).save(file, "PNG")
    assert len(file.getvalue()) > 60_000
    upload = await stage.jobs.keep_upload(file.getvalue())
    await stage.bot()
    engine = stage.host("attic")
    seen: list[bytes] = []
    generate = engine.generate

    def watched(work: Any) -> Any:
        assert isinstance(work, Generate)
        seen.extend(work.pictures.values())
        return generate(work)

    engine.generate = watched  # type: ignore[method-assign]
    await stage.there("attic")
    await stage.finished(await stage.ask(init_picture=upload, denoising_strength=0.5))
    assert [hashlib.sha256(picture).hexdigest() for picture in seen] == [upload]
    await _left_nothing(stage)


async def test_a_cancelled_job_stops_on_its_host(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic")
    engine.gate = asyncio.Event()
    await stage.there("attic")
    number = await stage.ask(steps=20)
    await stage.until(lambda: len(engine.began) == 1)
    await stage.until(lambda: any(isinstance(event, Preview) for _, event in stage.heard))
    await stage.workers.cancel(number)
    engine.gate.set()
    assert (await stage.ended(number)).state is JobState.CANCELLED
    await _left_nothing(stage)
    await stage.finished(await stage.ask())


async def test_two_hosts_draw_at_once_and_each_what_it_has(stage: Stage) -> None:
    await stage.bot()
    attic = stage.host("attic", 0.02, demo="demo", big="a large one")
    cellar = stage.host("cellar", 0.02, demo="demo", small="a small one")
    await stage.there("attic", "cellar")
    assert {model.name for model in stage.catalog.checkpoints} == {"demo", "big", "small"}
    big = [await stage.ask("big", user) for user in range(3)]
    small = [await stage.ask("small", user) for user in range(3)]
    demo = [await stage.ask("demo", user) for user in range(4)]
    drew: dict[int, str] = {}
    for number in (*big, *small, *demo):
        job = await stage.finished(number)
        assert job.provenance is not None
        drew[number] = job.provenance.worker
    assert {drew[number] for number in big} == {"attic"}
    assert {drew[number] for number in small} == {"cellar"}
    assert len(attic.began) + len(cellar.began) == 10


async def test_a_host_has_the_next_in_hand_before_it_is_done(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic", 0.05)
    await stage.there("attic")
    numbers = [await stage.ask(user=user) for user in range(5)]
    for number in numbers:
        await stage.finished(number)
    assert engine.handed
    assert set(engine.handed) <= set(engine.began)
    assert len(engine.began) == 5
    await _left_nothing(stage)


async def test_a_machine_with_several_cards_is_several_workers(stage: Stage) -> None:
    await stage.bot()
    stage.process("attic", workers=2)
    await stage.there("attic1", "attic2")
    numbers = [await stage.ask(user=user) for user in range(6)]
    drew = {(await stage.finished(number)).provenance.worker for number in numbers}  # type: ignore[union-attr]
    assert drew == {"attic1", "attic2"}


async def test_another_file_of_the_same_name_is_another_model(stage: Stage) -> None:
    """By what is in them: a file of the same content is the same, whatever it is called."""
    await stage.bot(FilesCatalog(stage.folder / "bot", dream="one"))
    stage.host("attic", dream="another", renamed="one")
    await stage.there("attic")
    names = {model.name for model in stage.catalog.checkpoints}
    assert names == {"dream", "dream (attic)"}
    assert [model.name for model in stage.catalog.of("attic").checkpoints] == [
        "dream",
        "dream (attic)",
    ]
    seen: list[str] = []
    engine = stage.engines["attic"]
    generate = engine.generate

    def watched(work: Any) -> Any:
        seen.append(work.checkpoint.path.read_text())
        return generate(work)

    engine.generate = watched  # type: ignore[method-assign]
    await stage.finished(await stage.ask("dream"))
    await stage.finished(await stage.ask("dream (attic)"))
    assert seen == ["one", "another"]


@pytest.mark.slow
async def test_a_job_waits_for_the_host_that_has_its_model(stage: Stage) -> None:
    await stage.bot()
    stage.host("attic", big="a large one")
    await stage.there("attic")
    await stage.end_host("attic")
    await stage.there()
    number = await stage.ask("big")
    await asyncio.sleep(0.5)
    job = await stage.job(number)
    assert job.state is JobState.QUEUED
    assert stage.workers.awaits(job).hosts == ("attic",)
    # also after a start at which the host is not there
    await stage.end_bot()
    await stage.bot()
    await stage.until(lambda: any(one.name == "big" for one in stage.catalog.checkpoints))
    assert stage.workers.awaits(job).hosts == ("attic",)
    stage.host("attic", big="a large one")
    await stage.finished(number)
    assert stage.workers.awaits(job).names == ()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
async def test_a_host_that_falls_silent_gives_its_job_back(stage: Stage) -> None:
    await stage.bot()
    attic = stage.process("attic")
    attic.hold()
    await stage.there("attic")
    number = await stage.ask()
    await stage.until(lambda: len(attic.began) == 1)
    attic.freeze()
    second = stage.host("cellar")
    await stage.there("cellar")
    job = await stage.finished(number)
    assert job.provenance is not None
    assert job.provenance.worker == "cellar"
    assert len(second.began) == 1
    # what the first goes on to say is not heard
    attic.go_on()
    attic.thaw()
    await stage.there("attic", "cellar")
    await asyncio.sleep(1.0)
    assert (await stage.job(number)).provenance == job.provenance
    await _left_nothing(stage)


async def test_a_host_that_is_started_anew_goes_on_with_its_order(stage: Stage) -> None:
    await stage.bot()
    attic = stage.process("attic")
    attic.hold()
    await stage.there("attic")
    number = await stage.ask()
    await stage.until(lambda: len(attic.began) == 1)
    attic.kill()
    attic.go_on()
    attic.start()
    job = await stage.finished(number)
    assert attic.began == attic.began[:1] * 2, "the same order"
    assert job.attempts == 1


async def test_while_nats_is_away_work_goes_on_and_nothing_is_lost(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic")
    engine.gate = asyncio.Event()
    await stage.there("attic")
    number = await stage.ask()
    waiting = await stage.ask(user=2)
    await stage.until(lambda: len(engine.began) == 1)
    stage.server.stop()
    engine.gate.set()
    await asyncio.sleep(1.0)
    assert (await stage.job(number)).state is JobState.RUNNING
    stage.server.start()
    job = await stage.finished(number)
    assert job.attempts <= 1
    await stage.finished(waiting)
    assert len(set(engine.began)) == len(engine.began) == 2
    await _left_nothing(stage)


@pytest.mark.slow
async def test_where_nats_stays_away_jobs_go_back_and_what_comes_late_is_not_heard(
    stage: Stage,
) -> None:
    await stage.bot()
    engine = stage.host("attic")
    engine.gate = asyncio.Event()
    await stage.there("attic")
    number = await stage.ask()
    await stage.until(lambda: len(engine.began) == 1)
    stage.server.stop()
    async with asyncio.timeout(PATIENCE):
        while (await stage.job(number)).state is not JobState.QUEUED:
            await asyncio.sleep(0.05)
    local = stage.engines["local"] = type(engine)(step_seconds=0.01)
    stage.workers.add("local", local, runs=stage.fleet.places.runs_here, catalog=stage.own)
    job = await stage.finished(number)
    assert job.provenance is not None
    assert job.provenance.worker == "local"
    engine.gate.set()
    stage.server.start()
    await stage.there("local", "attic")
    await asyncio.sleep(1.0)
    assert (await stage.job(number)).provenance == job.provenance
    await _left_nothing(stage)


async def test_what_nobody_wants_is_not_drawn(stage: Stage) -> None:
    """However it comes to lie in the queue still: the bot may have had no word with NATS when it
    gave the job up.
    """
    await stage.bot()
    engine = stage.host("attic")
    await stage.there("attic")
    connection = stage.fleet._exchange.connection
    assert connection is not None
    model = stage.catalog.of("attic").checkpoints[0]
    work = encode(Generate("1", a_request(), model))
    order = wire.Order("given-up", stage.fleet._exchange.session, work)
    await connection.stream.publish(wire.jobs_of("attic"), wire.pack(order))
    await _left_nothing(stage)
    await stage.finished(await stage.ask())
    assert "given-up" not in engine.began


@pytest.mark.slow
async def test_a_server_that_has_lost_all_is_told_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "RESCAN_SECONDS", 1.0)
    await stage.bot()
    engine = stage.host("attic")
    engine.gate = asyncio.Event()
    await stage.there("attic")
    number = await stage.ask()
    await stage.until(lambda: len(engine.began) == 1)
    stage.server.stop()
    stage.server.forget()
    stage.server.start()
    engine.gate.set()
    await stage.finished(number)
    # also for a bot that knows of nothing
    await stage.end_bot()
    shutil.rmtree(stage.folder / "cache")
    await stage.bot()
    await stage.there("attic")
    await stage.finished(await stage.ask())


@pytest.mark.slow
async def test_how_long_a_host_may_be_silent_is_the_bot_s_to_say(stage: Stage) -> None:
    attic = stage.process("attic")
    await stage.bot()
    await stage.there("attic")
    await stage.end_bot()
    stage.settings = msgspec.structs.replace(stage.settings, away_after=60.0)
    await stage.bot()
    await stage.there("attic")
    attic.kill()
    await asyncio.sleep(AWAY_AFTER + 3)
    assert [worker.name for worker in stage.workers.workers] == ["attic"]


async def test_a_bot_that_ended_leaves_its_hosts_to_the_next(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic", step_seconds=0.1)
    await stage.there("attic")
    number = await stage.ask(steps=40)
    await stage.until(lambda: len(engine.began) == 1)
    await stage.kill_bot()
    await stage.jobs.recover()
    await stage.bot()
    await stage.finished(number)
    # it was told to leave what the first bot had ordered, and drew it for the second
    assert len(engine.began) == 2
    await _left_nothing(stage)


async def test_a_bot_that_is_stopped_has_its_hosts_draw_no_more(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic", step_seconds=0.1)
    await stage.there("attic")
    number = await stage.ask(steps=100)
    await stage.until(lambda: len(engine.began) == 1)
    await stage.end_bot()
    await stage.until(lambda: bool(engine._cancelled))
    assert (await stage.job(number)).state is JobState.QUEUED
    assert (await stage.job(number)).attempts == 0


async def test_a_host_has_one_bot_at_a_time(stage: Stage) -> None:
    await stage.bot()
    stage.host("attic")
    await stage.there("attic")
    other = Stage(stage.server, stage.folder / "other", stage.jobs)
    await other.bot()
    await asyncio.sleep(fleet_hosts.LOOK_EVERY * 2)
    assert other.workers.workers == ()
    await stage.end_bot()
    await other.there("attic")
    await other.close()


async def test_pictures_are_checked_wherever_they_must_be(stage: Stage) -> None:
    stage.needs_check = True
    await stage.bot()
    stage.host("attic")
    await stage.there("attic")
    number = await stage.ask()
    await asyncio.sleep(0.5)
    assert (await stage.job(number)).state is JobState.QUEUED
    stage.needs_check = False
    await stage.finished(number)


async def test_a_damaged_picture_is_drawn_again(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic")
    await stage.there("attic")
    exchange = stage.fleet._exchange
    assert exchange.connection is not None
    get = exchange.connection.get
    damaged: list[str] = []

    async def once(store: Any, name: str, sha256: str) -> bytes:
        if not damaged:
            damaged.append(name)
            return await get(store, name, "0" * 64)
        return await get(store, name, sha256)

    exchange.connection.get = once  # type: ignore[method-assign]
    job = await stage.finished(await stage.ask())
    assert len(damaged) == 1
    assert len(engine.began) == 2
    assert job.attempts == 1


def test_away_is_longer_than_two_beats() -> None:
    assert 2 * wire.BEAT_EVERY <= AWAY_AFTER
