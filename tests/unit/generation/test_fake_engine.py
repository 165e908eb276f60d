"""The engine that stands in for the real one keeps to what the real one promises."""

import asyncio
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageChops, ImageStat

from generation.engines import Engine
from generation.engines.fake import READY, FakeEngine
from generation.messages import Failed, Finished, Generate, JobEvent, Picture, Progress
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from tests.fixtures.requests import a_request


def work(request: GenerationRequest | None = None, job: str = "1") -> Generate:
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=Path("demo"), family="sd1")
    return Generate(job, request or a_request(), model)


async def events(engine: Engine, job: Generate) -> list[JobEvent]:
    return [event async for event in engine.generate(job)]


def pictures(found: list[JobEvent]) -> list[str]:
    return [event.pixels_sha256 for event in found if isinstance(event, Picture)]


async def test_equal_requests_give_equal_pictures() -> None:
    engine = FakeEngine()
    found = await events(engine, work(a_request(count=3)))
    assert isinstance(found[-1], Finished)
    assert len(set(pictures(found))) == 3
    assert pictures(await events(engine, work(a_request(count=3)))) == pictures(found)
    assert pictures(await events(engine, work(a_request(seed=8)))) == pictures(found)[1:2]
    assert engine.ready == READY
    await engine.stop()
    assert engine.ready is None


async def test_a_variation_is_a_relative_of_its_parent() -> None:
    async def drawn(**changes: Any) -> Picture:
        found = await events(FakeEngine(), work(a_request(seed=7, **changes)))
        (picture,) = [event for event in found if isinstance(event, Picture)]
        return picture

    parent = await drawn()
    near, far, second = [
        await drawn(variation_seed=8, variation_strength=strength) for strength in (0.1, 0.6, 1.0)
    ]
    assert (near.seed, near.variation_seed, parent.variation_seed) == (7, 8, None)
    assert second.pixels_sha256 == pictures(await events(FakeEngine(), work(a_request(seed=8))))[0]
    assert 0 < distance(near, parent) < distance(far, parent)
    assert (await drawn(variation_seed=8)).pixels_sha256 == parent.pixels_sha256


def distance(one: Picture, other: Picture) -> float:
    images = [Image.open(io.BytesIO(picture.file)) for picture in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*images)).mean)


async def test_tiles_are_as_large_as_asked_for_and_carry_what_a_check_found() -> None:
    engine = FakeEngine(unsafe=(0.7, 0.7, 0.7, 0.7))
    request = a_request(width=264, height=200, tile=128, init_picture="0" * 64)
    (picture,) = [e for e in await events(engine, work(request)) if isinstance(e, Picture)]
    assert (picture.width, picture.height, picture.unsafe) == (264, 200, 0.7)
    with Image.open(io.BytesIO(picture.file)) as image:
        assert image.size == (264, 200)
    engine.unsafe = ()
    (picture,) = [e for e in await events(engine, work()) if isinstance(e, Picture)]
    assert picture.unsafe is None


async def test_another_vae_is_another_picture() -> None:
    vae = ModelFile(kind=ModelKind.VAE, name="fine", path=Path("fine"), family="sd1")
    job = msgspec.structs.replace(work(a_request(vae="fine")), vae=vae)
    found = await events(FakeEngine(), job)
    assert pictures(found) != pictures(await events(FakeEngine(), work()))
    assert isinstance(found[-1], Finished)
    assert found[-1].hashes.keys() == {"checkpoint:demo", "vae:fine"}


async def test_failures_come_in_the_order_in_which_they_were_asked_for() -> None:
    engine = FakeEngine(failures=("worker_died", "nan_pictures"))
    ends = [(await events(engine, work()))[-1] for _ in range(3)]
    assert [end.code if isinstance(end, Failed) else "" for end in ends] == [
        "worker_died",
        "nan_pictures",
        "",
    ]


async def test_a_cancelled_job_ends_at_its_next_step_and_can_be_tried_again() -> None:
    engine = FakeEngine()
    found: list[JobEvent] = []
    async for event in engine.generate(work()):
        found.append(event)
        if isinstance(event, Progress) and event.step == 2:
            await engine.cancel("1")
    assert isinstance(found[-1], Failed)
    assert found[-1].code == "cancelled"
    assert isinstance((await events(engine, work()))[-1], Finished)


async def test_one_that_hangs() -> None:
    engine = FakeEngine(failures=("hang",))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(events(engine, work()), 0.1)
